import Glibc
public import Primitives

/// What Prometheus' client libraries say of a process, read from /proc at each scrape. What cannot be read is left out:
/// a missing series is how monitoring learns of it.
public struct ProcessMetrics: Sendable {
    private let files: any FileSystem
    private let ticksPerSecond: Double
    private let pageBytes: Double
    /// Read once: it moves when somebody sets the clock, and the process did not start again.
    private let bootedAt: UInt64?

    public init(files: any FileSystem = SystemFileSystem()) {
        self.files = files
        ticksPerSecond = Double(sysconf(Int32(_SC_CLK_TCK)))
        pageBytes = Double(sysconf(Int32(_SC_PAGESIZE)))
        bootedAt = Self.read("/proc/stat", files).flatMap(bootSeconds)
    }

    /// Pass it to `MetricsRegistry.collect`. Reads /proc, which does not block on a disk.
    public func samples() -> [MetricSample] {
        var samples: [MetricSample] = []
        if let stat = Self.read("/proc/self/stat", files).flatMap(ProcessStat.init(text:)) {
            samples += [
                MetricSample(
                    "process_cpu_seconds_total",
                    value: Double(stat.cpuTicks) / ticksPerSecond),
                MetricSample("process_threads", value: Double(stat.threads)),
                MetricSample(
                    "process_resident_memory_bytes",
                    value: Double(stat.residentPages) * pageBytes),
                MetricSample(
                    "process_virtual_memory_bytes", value: Double(stat.virtualBytes)),
            ]
            if let bootedAt {
                samples.append(
                    MetricSample(
                        "process_start_time_seconds",
                        value: Double(bootedAt) + Double(stat.startTicks) / ticksPerSecond))
            }
        }
        if let open = openFiles() {
            samples.append(MetricSample("process_open_fds", value: Double(open)))
        }
        var limit = rlimit()
        if getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 {
            samples.append(
                MetricSample("process_max_fds", value: Double(limit.rlim_cur)))
        }
        return samples
    }

    /// Longer than what is looked for in either file.
    private static let procBytesMax = 1 << 20

    private static func read(_ path: String, _ files: any FileSystem) -> String? {
        do throws(FileSystemError) {
            let file = try files.open(path, .readOnly)
            defer { file.close() }
            return String(decoding: try file.read(procBytesMax, at: 0), as: UTF8.self)
        } catch {
            return nil
        }
    }

    private func openFiles() -> Int? {
        do throws(FileSystemError) {
            // The listing itself holds one.
            return max(0, try files.list("/proc/self/fd").count - 1)
        } catch {
            return nil
        }
    }
}

/// The fields of /proc/[pid]/stat that are of use (proc(5)).
struct ProcessStat: Equatable {
    var cpuTicks: UInt64
    var threads: UInt64
    var startTicks: UInt64
    var virtualBytes: UInt64
    var residentPages: UInt64

    /// nil when the text is not in the form of proc(5).
    init?(text: String) {
        // The command's name, field 2, may hold spaces and parentheses: the fields count from the last one on.
        guard let end = text.lastIndex(of: ")") else { return nil }
        let fields = text[text.index(after: end)...].split { $0 == " " || $0 == "\n" }
        func number(_ field: Int) -> UInt64? { field - 3 < fields.count ? UInt64(fields[field - 3]) : nil }
        guard let user = number(14), let system = number(15), let threads = number(20), let start = number(22),
            let virtual = number(23), let resident = number(24)
        else { return nil }
        cpuTicks = user + system
        self.threads = threads
        startTicks = start
        virtualBytes = virtual
        residentPages = resident
    }
}

/// When the machine started, in seconds since 1970 UTC: `btime` of /proc/stat.
func bootSeconds(_ text: String) -> UInt64? {
    for line in text.split(separator: "\n") where line.hasPrefix("btime ") { return UInt64(line.dropFirst(6)) }
    return nil
}
