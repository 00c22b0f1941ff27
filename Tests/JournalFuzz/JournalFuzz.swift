import Glibc
import JournalAttack

/// What libFuzzer calls (<https://llvm.org/docs/LibFuzzer.html>). Scripts/fuzz-journal links it; nothing else does.
///
/// A broken promise ends the process: libFuzzer then keeps the input.
@_cdecl("LLVMFuzzerTestOneInput")
public func postriderFuzzJournal(_ data: UnsafePointer<UInt8>, _ count: Int) -> Int32 {
    let violations: [String]
    do {
        violations = try fuzzer.get().run(Array(UnsafeBufferPointer(start: data, count: count)))
    } catch {
        violations = ["the fuzzer itself failed: \(error)"]
    }
    if violations.isEmpty { return 0 }
    for violation in violations { print(violation) }
    fflush(nil)
    abort()
}

/// The seed decides sizes; salts and the journal's UUID are random, as they always are.
private let fuzzer = Result { try FuzzInput(seed: 1) }
