import Glibc
import Journal
import Primitives

/// Why the process ends, with its exit code. docs/ARCHITECTURE.md lists them; supervisors and people decide by them.
public enum ExitReason: Int32, Error, Sendable, CaseIterable {
    /// Stopped in order.
    case stopped = 0
    /// The port or the directory cannot be used, or the directory contradicts the settings; changing them helps. What
    /// is wrong in flags, configuration file or environment ends with 64 (`EX_USAGE`) before anything is touched.
    case cannotStart = 1
    /// A write or sync of the spool failed, or of what stands beside it (outcomes, the embedded broker's file): the
    /// next start recovers.
    case diskFailed = 20
    /// Synced records are lost or unreadable: an operator decides.
    case spoolCorrupt = 21
    /// Another process uses the data directory.
    case directoryInUse = 22
    /// Another process forwards from a copy of this spool.
    case spoolOwnedElsewhere = 23
    /// The broker refuses for good; the log says what to change.
    case brokerFatal = 24
    /// A second signal ended it at once, as SIGKILL would: nothing is lost, the next start recovers.
    case stoppedAtOnce = 25

    /// Of a broker's failure that ends the process.
    ///
    /// - Parameter code: of its `BrokerError`.
    init(brokerCode code: String) {
        self =
            switch code {
            case "broker_owned_elsewhere": .directoryInUse
            case "spool_owned_elsewhere": .spoolOwnedElsewhere
            case "broker_sync_failed", "broker_io_failed", "outcomes_sync_failed": .diskFailed
            default: .brokerFatal
            }
    }
}

/// Why the gateway did not start.
public struct StartError: Error, Sendable, CustomStringConvertible {
    public let reason: ExitReason
    public let description: String

    init(_ reason: ExitReason, _ description: String) {
        self.reason = reason
        self.description = description
    }

    init(_ error: FileSystemError) {
        var description = error.description
        if error.isDenied {
            description += "; the data directory and all that is in it have to belong to the user of the gateway, here "
            description += "uid \(geteuid())"
        } else if error.isReadOnly {
            description += "; a gateway has to write (postrider spool verify and export do not)"
        }
        self.init(.cannotStart, description)
    }

    init(_ error: JournalError) {
        if case .io(let error) = error {
            self.init(error)
            return
        }
        let reason: ExitReason =
            switch error {
            case .inUse: .directoryInUse
            case .corruption, .unreadable: .spoolCorrupt
            case .io, .laneCount, .quarantineFull: .cannotStart
            }
        self.init(reason, error.description)
    }
}
