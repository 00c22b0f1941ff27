/// Reads a time as RFC 3339, section 5.6; fractions beyond milliseconds are cut.
///
/// - Returns: milliseconds since 1970 UTC; nil when the text is no such time. Leap seconds count as the second before.
func millisecondsSince1970(rfc3339 text: String) -> Int64? {
    var rest = Array(text.utf8)[...]
    func digits(_ count: Int) -> Int64? {
        guard rest.count >= count else { return nil }
        var value: Int64 = 0
        for byte in rest.prefix(count) {
            guard byte >= 48, byte <= 57 else { return nil }
            value = value * 10 + Int64(byte - 48)
        }
        rest = rest.dropFirst(count)
        return value
    }
    func one(of bytes: String) -> UInt8? {
        guard let first = rest.first, bytes.utf8.contains(first) else { return nil }
        rest = rest.dropFirst()
        return first
    }
    guard let year = digits(4), one(of: "-") != nil, let month = digits(2), one(of: "-") != nil,
        let day = digits(2), one(of: "Tt ") != nil, let hour = digits(2), one(of: ":") != nil,
        let minute = digits(2), one(of: ":") != nil, let second = digits(2),
        (1...12).contains(month), (1...31).contains(day), hour < 24, minute < 60, second <= 60
    else { return nil }
    var milliseconds: Int64 = 0
    if one(of: ".") != nil {
        var scale: Int64 = 100
        var any = false
        while let digit = digits(1) {
            milliseconds += digit * scale
            scale /= 10
            any = true
        }
        guard any else { return nil }
    }
    var offsetMinutes: Int64 = 0
    switch one(of: "Zz+-") {
    case UInt8(ascii: "+"), UInt8(ascii: "-"):
        let sign: Int64 = Array(text.utf8)[text.utf8.count - rest.count - 1] == UInt8(ascii: "-") ? -1 : 1
        guard let hours = digits(2), one(of: ":") != nil, let minutes = digits(2), hours < 24, minutes < 60 else {
            return nil
        }
        offsetMinutes = sign * (hours * 60 + minutes)
    case nil: return nil
    default: break
    }
    guard rest.isEmpty, day <= daysIn(month: month, year: year) else { return nil }
    let seconds = days(year, month, day) * 86400 + hour * 3600 + minute * 60 + min(second, 59) - offsetMinutes * 60
    return seconds * 1000 + milliseconds
}

private func daysIn(month: Int64, year: Int64) -> Int64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
    return month == 2 ? (leap ? 29 : 28) : [4, 6, 9, 11].contains(month) ? 30 : 31
}

/// Days since 1970-01-01 of a date of the Gregorian calendar (H. Hinnant, "chrono-Compatible Low-Level Date
/// Algorithms", days_from_civil).
private func days(_ year: Int64, _ month: Int64, _ day: Int64) -> Int64 {
    let shifted = month <= 2 ? year - 1 : year
    let era = (shifted >= 0 ? shifted : shifted - 399) / 400
    let yearOfEra = shifted - era * 400
    let dayOfYear = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1
    let dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
    return era * 146097 + dayOfEra - 719468
}
