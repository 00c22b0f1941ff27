import Glibc
public import Primitives

/// What a disk does when it does not do what it should.
extension FakeFileSystem {
    public enum Fault: Sendable {
        case error(Int32)
        /// Writes half of the bytes, then reports only those.
        case shortWrite
        /// Writes everything, and then says that it failed.
        case errorAfterWrite(Int32)
        /// Does not return before `releaseHangs`.
        case hang
        /// The process dies before the call.
        case die
    }

    /// What waits to happen.
    struct Faults {
        /// By the number of the call.
        var byCall: [Int: Fault] = [:]
        var syncs: Int32?
        var writes: (name: String, errno: Int32)?
        var paths: (suffix: String, errno: Int32)?
        var calls: (name: String, errno: Int32)?
        var noSpace: NoSpace?
    }

    struct Plan {
        var fault: (@Sendable (_ call: String, _ path: String) -> Fault?)?
    }

    /// Calls that may need space, from one on, and only so many of them, find none.
    struct NoSpace {
        static let calls: Set = ["open", "posix_fallocate", "pwrite", "ftruncate", "rename", "unlink"]

        var errno: Int32
        var from: Int
        var left: Int
        var writingFirst: Bool
    }

    /// The `number`th changing call from now on (0 is the next) meets `fault`.
    public func inject(_ fault: Fault, atCall number: Int) {
        state.withLock { $0.faults.byCall[$0.calls + number] = fault }
    }

    /// Asked before every changing call and every `pread`, with the call's name and path; nil: nobody is.
    ///
    /// What it does itself happens while the call is on its way, as if other threads ran.
    public func setPlan(_ fault: (@Sendable (_ call: String, _ path: String) -> Fault?)?) {
        plan.withLock { $0.fault = fault }
    }

    /// Whether the call fails on a disk without space, for one of the reasons that file systems have.
    public static func needsSpace(_ call: String) -> Bool { NoSpace.calls.contains(call) }

    func planned(_ call: String, _ path: String) -> Fault? { plan.withLock { $0 }.fault?(call, path) }

    /// Total bytes that files may take; beyond it ENOSPC.
    public func setCapacity(_ bytes: Int?) { state.withLock { $0.capacity = bytes ?? Int.max } }

    /// Every sync fails from now on, or none.
    public func failSyncs(_ errno: Int32?) { state.withLock { $0.faults.syncs = errno } }

    /// Every write to the file of this name fails from now on; nil: none.
    public func failWrites(to name: String?, _ errno: Int32) {
        state.withLock { $0.faults.writes = name.map { ($0, errno) } }
    }

    /// Every changing call on a path that ends so fails from now on, or none.
    public func failPaths(_ fault: (suffix: String, errno: Int32)?) { state.withLock { $0.faults.paths = fault } }

    /// Every changing call of this name fails from now on; nil: none.
    public func failCalls(_ name: String?, _ errno: Int32 = 0) {
        state.withLock { $0.faults.calls = name.map { ($0, errno) } }
    }

    /// What it says that it is.
    public func setKind(_ kind: FileSystemKind) { state.withLock { $0.kind = kind } }

    /// From the `number`th changing call on, `count` calls that may need space fail: every one of them, as on the file
    /// systems that need space even to overwrite and to delete. nil: there is space again.
    ///
    /// - Parameter writingFirst: a write does all that it should before it fails.
    public func failSpace(_ errno: Int32?, atCall number: Int = 0, count: Int = .max, writingFirst: Bool = false) {
        state.withLock { state in
            state.faults.noSpace = errno.map {
                NoSpace(errno: $0, from: state.calls + number, left: count, writingFirst: writingFirst)
            }
        }
    }

    /// Its process has died.
    public var isDead: Bool { state.withLock { $0.dead } }

    /// Syncs of files of which a sync had failed: a program must not believe those.
    public var syncsOfCondemned: Int { syncedAfterFailure.count }

    /// The paths of those.
    public var syncedAfterFailure: [String] { state.withLock { $0.syncedAfterFailure } }

    /// Whether a call met `Fault.hang` and has not returned.
    public var isHanging: Bool { hangs.withLock { $0.now } }

    /// Ends every `Fault.hang`, also later ones.
    public func releaseHangs() {
        hangs.withLock { $0.released = true }
        hangs.broadcast()
    }

    /// Syncs hang until `release`.
    public func holdSyncs() { gate.withLock { $0 = true } }

    public func releaseSyncs() {
        gate.withLock { $0 = false }
        gate.broadcast()
    }

    /// Counts a changing call and lets the fault that waits for it happen.
    @discardableResult
    func change(_ call: String, _ path: String) throws(FileSystemError) -> Fault? {
        let planned = planned(call, path)
        let fault = try state.withLock { (state) throws(FileSystemError) -> Fault? in
            if state.dead { throw FileSystemError(call: call, path: path, errno: EIO) }
            defer { state.calls += 1 }
            state.log.append(call)
            let fault = state.faults.byCall.removeValue(forKey: state.calls) ?? planned
            if case .die = fault { state.dead = true }
            if let failing = state.faults.paths, path.hasSuffix(failing.suffix) { return .error(failing.errno) }
            if let failing = state.faults.calls, failing.name == call { return .error(failing.errno) }
            if let failing = state.faults.noSpace, NoSpace.calls.contains(call), state.calls >= failing.from,
                failing.left > 0
            {
                state.faults.noSpace?.left -= 1
                return failing.writingFirst ? .errorAfterWrite(failing.errno) : .error(failing.errno)
            }
            return fault
        }
        switch fault {
        case .hang:
            hangs.withLock { $0.now = true }
            _ = hangs.wait { $0.released ? true : nil }
            hangs.withLock { $0.now = false }
            return nil
        case .errorAfterWrite(let code) where call != "pwrite":
            throw FileSystemError(call: call, path: path, errno: code)
        case .error(let code): throw FileSystemError(call: call, path: path, errno: code)
        case .die: throw FileSystemError(call: call, path: path, errno: EIO)
        case .shortWrite, .errorAfterWrite, nil: return fault
        }
    }

    func holdOrFailSync(_ call: String, _ path: String) throws(FileSystemError) {
        _ = gate.wait { $0 ? nil : true }
        if let code = state.withLock({ $0.faults.syncs }) { throw FileSystemError(call: call, path: path, errno: code) }
    }

    /// ENOSPC when files would grow past the capacity.
    func reserve(_ growth: Int, call: String, path: String) throws(FileSystemError) {
        guard growth > 0 else { return }
        let space = try space(path)
        if Int64(growth) > space.available { throw FileSystemError(call: call, path: path, errno: ENOSPC) }
    }
}
