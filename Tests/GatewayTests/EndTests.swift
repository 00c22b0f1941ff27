import Telemetry
import TestSupport
import Testing

@testable import Gateway

/// What the process says at its start and at SIGHUP, and by which code it ends.
@Suite struct EndTests {
    /// What a start mends is told from what it does not: supervisors decide by that.
    @Test(
        arguments: [
            ("broker_sync_failed", .diskFailed), ("broker_io_failed", .diskFailed),
            ("outcomes_sync_failed", .diskFailed),
            ("broker_corrupt", .brokerFatal), ("broker_readonly", .brokerFatal), ("broker_file_unknown", .brokerFatal),
            ("spool_owned_elsewhere", .spoolOwnedElsewhere), ("broker_owned_elsewhere", .directoryInUse),
        ] as [(String, ExitReason)])
    func exitCode_SaysWhetherAStartMendsIt(code: String, expected: ExitReason) {
        #expect(ExitReason(brokerCode: code) == expected)
    }

    /// The edit that the second signal is about may have come after the file was read.
    @Test func hangUp_WhileTheSettingsAreRead_ReadsThemOnceMore() {
        let control = LogControl(Settings().logOptions)
        let reload = LogReload(Settings(), control: control)
        var reads = 0
        func read() throws(SettingsError) -> Settings {
            reads += 1
            for _ in 0..<3 where reads == 1 { reload.reload { () throws(SettingsError) in Settings() } }
            var settings = Settings()
            settings.log.repeatsMax = reads
            return settings
        }
        reload.reload(read)
        #expect(reads == 2)
        #expect(control.options.repeatsMax == 2)
        reload.reload(read)
        #expect(reads == 3, "and it goes on")
    }

    @Test func settingsInTheLog_AreThoseThatDiffer_WithoutSecrets() throws {
        var settings = Settings()
        #expect(settings.logMetadata.isEmpty)
        try settings.set("http.threads=3")
        try settings.set("broker.kafka.properties.sasl.password=s3cret", from: .environment(variable: "P"))
        let told = settings.logMetadata.mapValues { "\($0)" }
        #expect(
            told == [
                "http.threads": "3 (--set)", "broker.kafka.properties.sasl.password": "(secret) (P)",
            ])
    }
}
