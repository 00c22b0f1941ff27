import ArgumentParser
import Client
import Glibc
import JSON
import Primitives

struct Status: GatewayCommand {
    static let configuration = CommandConfiguration(
        abstract: "A gateway on one screen.",
        discussion: """
            Exit code 0: it accepts records and forwards them; 1: it does not, or refused to tell; 2: no answer. With \
            --accepting it need not forward them: a broker that is away is no reason to start the gateway anew. With \
            --watch it goes on until it is interrupted, also over restarts of the gateway.
            """)

    /// Without a terminal.
    private static let widthDefault = 120

    @Option(help: "Show it again every so often.")
    var watch: Time?
    @Flag(help: "For health checks: exit code 0 when it accepts records, whether or not it forwards them.")
    var accepting = false
    @OptionGroup var gateway: ConnectionOptions
    @OptionGroup var output: OutputOptions

    func validate() throws {
        if let watch, watch.duration < .milliseconds(100) { throw ValidationError("--watch is at least 100ms") }
    }

    func perform(_ calls: Calls) throws(ClientError) -> ClientExit {
        guard let watch else { return try show(calls, clears: false) }
        let stop = StopFlag()
        stop.setBySignals()
        calls.stop = stop
        while !stop.isSet {
            do throws(ClientError) {
                _ = try show(calls, clears: isatty(STDOUT_FILENO) == 1)
            } catch {
                switch error {
                case .io: throw error
                case .stopped: return .done
                default: complain(error.description)
                }
            }
            stop.wait(watch.duration)
        }
        return .done
    }

    private func show(_ calls: Calls, clears: Bool) throws(ClientError) -> ClientExit {
        let answer = try calls.call("GET", "/v1/status")
        let status = try answer.json()
        let isWell =
            status.kind == .object
            && (accepting ? ["accepting"] : ["accepting", "forwarding"]).allSatisfy {
                status.member($0)?.member("ok")?.bool == true
            }
        if output.json {
            try output.write(answer) { () throws(ClientError) in [] }
        } else {
            let names = try calls.list("/v1/consumers", "consumers", max: StatusScreen.consumersMax).items
            let consumers = try ConsumersCommand.described(names, calls)
            let width = StatusScreen.terminalWidth(of: STDOUT_FILENO) ?? Self.widthDefault
            let lines = try StatusScreen.lines(status, consumers: consumers, width: width)
            // ECMA-48: to the first place, and erase what follows.
            if clears { try output.write(Array("\u{1B}[H\u{1B}[2J".utf8)) }
            try output.write(lines)
        }
        return isWell ? .done : .refused
    }
}
