import CMalloc
import Glibc

/// How glibc's malloc keeps memory, for the whole process.
///
/// Buffers of the journal, of bodies and of answers are up to 16 MiB large and come and go on many threads. By itself
/// glibc learns from the first such buffer to take them from arenas, of which each thread gets one, and gives back
/// little of what they once were: a backlog that drained would stay resident. See mallopt(3) under `M_MMAP_THRESHOLD`
/// and `M_ARENA_MAX`; measured in docs/PERFORMANCE.md.
enum ProcessMemory {
    /// A buffer of at least so many bytes is a mapping of its own, and gone when it is freed. Larger than what readers
    /// of the journal take again and again: each new mapping costs its page faults.
    static let mappedBytesMin: Int32 = 2 << 20
    /// More threads than that share an arena.
    static let arenasMax: Int32 = 4

    /// What an operator says to glibc goes before this.
    static let variables = ["MALLOC_ARENA_MAX", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES"]

    /// Called once, before the first thread. - Returns: false when the environment says something else.
    @discardableResult
    static func configure() -> Bool {
        guard variables.allSatisfy({ getenv($0) == nil }) else { return false }
        return mallopt(M_MMAP_THRESHOLD, mappedBytesMin) == 1 && mallopt(M_ARENA_MAX, arenasMax) == 1
    }
}
