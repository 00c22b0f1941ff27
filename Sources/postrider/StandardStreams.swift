import Glibc

/// Standard input, output and error, which whoever starts a program may leave closed. Then the next file or socket that
/// is opened gets that number, and what is meant for the stream goes there: log lines into the spool's checkpoint,
/// records that are acknowledged then into the connection to the gateway.
enum StandardStreams {
    /// Opens those that are closed on /dev/null: reading and writing fails there as it does where nothing is, and what
    /// is said on standard error is said to nobody. To be called before anything else is opened.
    static func hold() {
        for (descriptor, mode) in [(STDIN_FILENO, O_WRONLY), (STDOUT_FILENO, O_RDONLY), (STDERR_FILENO, O_WRONLY)] {
            guard fcntl(descriptor, F_GETFD) < 0, errno == EBADF else { continue }
            // The lowest that is free, which is this one.
            guard open("/dev/null", mode) == descriptor else { _exit(ClientExit.stream.rawValue) }
        }
    }
}
