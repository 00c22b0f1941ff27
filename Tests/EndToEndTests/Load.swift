import GatewayTestSupport
import Primitives
import TestSupport

/// Clients that produce until their gateway is gone, each on a connection and thread of its own, and what they were
/// told.
final class Load: Sendable {
    struct Told {
        /// In order, for each client.
        var accepted: [[String]]
        /// Sent, and the gateway was gone before the answer: may be stored.
        var unanswered: [String] = []
        var total = 0
    }

    let told: Monitor<Told>
    private let threads: Lock<[WorkerThread]>

    /// - Parameter send: sends request `number` of client `client`. Throws when the gateway is gone.
    init(clients: Int, port: UInt16, _ send: @escaping @Sendable (HTTPClient, _ name: String) throws -> Void) {
        let told = Monitor(Told(accepted: Array(repeating: [], count: clients)))
        self.told = told
        threads = Lock(
            (0..<clients).map { client in
                WorkerThread(name: "load-\(client)") {
                    var number = 0
                    do {
                        let connection = try HTTPClient(port: port)
                        while true {
                            let name = "\(client):\(number)"
                            told.withLock { $0.unanswered.append(name) }
                            try send(connection, name)
                            told.withLock { told in
                                told.unanswered.removeAll { $0 == name }
                                told.accepted[client].append(name)
                                told.total += 1
                            }
                            told.broadcast()
                            number += 1
                        }
                    } catch {
                        // The gateway is gone, as the test wants.
                    }
                }
            })
    }

    /// - Returns: whether so many requests were accepted in time.
    func waitUntilAccepted(_ count: Int) -> Bool {
        told.wait(until: patienceEnd()) { $0.total >= count ? true : nil } ?? false
    }

    /// After the gateway is gone. - Returns: what every client was told.
    func join() -> Told {
        for thread in threads.withLock({ $0 }) { thread.join() }
        return told.withLock { $0 }
    }
}
