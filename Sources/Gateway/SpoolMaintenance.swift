import Journal
import Logging
import Primitives
import Telemetry

/// `postrider spool …`: work on a spool that no gateway runs on. Blocks on the disk.
public enum SpoolMaintenance {
    /// What to do about a spool that was restored or copied (`Adoption`).
    public enum History: Sendable {
        case assumeDelivered, resend
    }

    /// Decides what becomes of the records of a spool whose history the broker does not know. The next start goes on
    /// accordingly, lane by lane.
    ///
    /// - Returns: a line for people.
    public static func adopt(dataDirectory: String, _ history: History) throws(StartError) -> String {
        let log = Logger(label: "postrider.spool") { StderrLogHandler(label: $0, level: .warning, format: .people) }
        do throws(JournalError) {
            let adoption = try Journal.adopt(
                directory: dataDirectory + "/spool", history == .resend ? .resend : .assumeDelivered, log: log)
            let records = "records below LSN \(adoption.end)"
            return switch history {
            case .assumeDelivered: "adopted: \(records) count as delivered where the broker's history is unknown"
            case .resend: "adopted: undelivered \(records) are sent where the broker's history is unknown"
            }
        } catch {
            throw StartError(error)
        }
    }
}
