import DeadLetters
import JSON
import Journal
import Logging
import Primitives
import Records
import Spool
import Store
import Telemetry

/// `postrider spool …`: work on a spool that no gateway runs on. Blocks on the disk. Every call locks the directory as
/// a gateway does, and throws with the exit code of a start that would be refused for the same reason.
public enum SpoolMaintenance {
    /// What to do about a spool that was restored or copied (`Adoption`).
    public enum History: Sendable {
        case assumeDelivered, resend
    }

    /// What a command found or did, to be printed.
    public struct Findings: Sendable {
        /// Nothing has to be repaired.
        public var isClean: Bool
        /// For people.
        public var text: String
        /// For programs: one object and a line feed.
        public var json: String
    }

    private static func directory(_ dataDirectory: String) -> String { dataDirectory + "/spool" }

    /// Decides what becomes of the records of a spool whose history the broker does not know. The next start goes on
    /// accordingly, lane by lane.
    public static func adopt(dataDirectory: String, _ history: History) throws(StartError) -> Findings {
        let control = LogControl(LogOptions(level: .warning, format: .text))
        let log = Logger(label: "postrider.spool") { StderrLogHandler(label: $0, control: control) }
        do throws(JournalError) {
            let adoption = try Journal.adopt(
                directory: directory(dataDirectory), history == .resend ? .resend : .assumeDelivered, log: log)
            let records = "records below LSN \(adoption.end)"
            let (decision, text) =
                switch history {
                case .assumeDelivered:
                    ("assume_delivered", "\(records) count as delivered where the broker's history is unknown")
                case .resend: ("resend", "undelivered \(records) are sent where the broker's history is unknown")
                }
            var writer = JSONWriter()
            writer.object { writer in
                writer.key("decision")
                writer.string(decision)
                writer.key("below_lsn")
                writer.integer(adoption.end.rawValue)
            }
            writer.endLine()
            return Findings(
                isClean: true, text: "adopted: \(text)", json: String(decoding: writer.bytes, as: UTF8.self))
        } catch {
            throw StartError(error)
        }
    }

    /// Reads every byte of the spool and changes nothing.
    public static func verify(dataDirectory: String) throws(StartError) -> Findings {
        do throws(JournalError) {
            let found = try SpoolInspection.of(directory: directory(dataDirectory))
            return Findings(
                isClean: found.isClean, text: SpoolReport.text(of: found),
                json: String(decoding: SpoolReport.json(of: found), as: UTF8.self))
        } catch {
            throw StartError(error)
        }
    }

    /// What is in it, by its headers; changes nothing.
    ///
    /// - Returns: `isClean`: a start would not be refused.
    public static func inspect(dataDirectory: String) throws(StartError) -> Findings {
        do throws(JournalError) {
            let found = try SpoolOverview.of(directory: directory(dataDirectory))
            return Findings(
                isClean: found.refused.isEmpty, text: SpoolOverviewReport.text(of: found),
                json: String(decoding: SpoolOverviewReport.json(of: found), as: UTF8.self))
        } catch {
            throw StartError(error)
        }
    }

    /// What a repair would do; changes nothing.
    public static func planRepair(dataDirectory: String) throws(StartError) -> Findings {
        do throws(JournalError) {
            return Findings(try SpoolRepair.plan(directory: directory(dataDirectory)), accepted: false)
        } catch {
            throw StartError(error)
        }
    }

    /// Restores what can be restored, and accepts the loss of the rest.
    public static func repair(dataDirectory: String) throws(StartError) -> Findings {
        let nowMs = SystemClock().wallMilliseconds()
        do throws(RepairFailure) {
            let keeping = SpoolRepair.Keeping(
                nowMs: nowMs, report: { SpoolReport.json(of: $0) },
                keep: { (losses) throws(RepairFailure) in
                    if losses.isEmpty { return }
                    do throws(StoreError) {
                        let store = try DeadLetters(directory: dataDirectory + "/dead-letters")
                        for loss in losses { try store.keep(loss, atMs: nowMs) }
                    } catch {
                        throw .deadLetters("\(error)")
                    }
                })
            let repair = try SpoolRepair.run(directory: directory(dataDirectory), keeping: keeping)
            return Findings(repair, accepted: true)
        } catch {
            switch error {
            case .journal(let error): throw StartError(error)
            case .deadLetters: throw StartError(.cannotStart, error.description)
            }
        }
    }

    /// Reads the records of the LSNs, delivered ones included; see `SpoolExport`. To be closed.
    static func export(dataDirectory: String, _ lsns: Range<LSN>) throws(StartError) -> SpoolExport {
        do throws(JournalError) {
            return try SpoolExport.open(directory: directory(dataDirectory), lsns)
        } catch {
            throw StartError(error)
        }
    }
}

extension SpoolMaintenance.Findings {
    fileprivate init(_ repair: SpoolRepair, accepted: Bool) {
        self.init(
            isClean: accepted || repair.inspection.isClean, text: SpoolReport.text(of: repair, accepted: accepted),
            json: String(decoding: SpoolReport.json(of: repair), as: UTF8.self))
    }
}

extension DeadLetters {
    fileprivate func keep(_ loss: QuarantinedLoss, atMs: Int64) throws(StoreError) {
        switch loss {
        case .record(let lsn, let lane, let spooled, let detail):
            try quarantine([(lsn, lane, spooled)], detail: detail, atMs: atMs)
        case .range(let lsns, let detail):
            try quarantine(lsns, detail: detail, atMs: atMs)
        }
    }
}
