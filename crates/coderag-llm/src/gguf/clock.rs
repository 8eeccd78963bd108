use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

const WEEKDAYS: [&str; 7] =
    ["Thursday", "Friday", "Saturday", "Sunday", "Monday", "Tuesday", "Wednesday"];

/// The current time in UTC, written as C's `strftime` would in the C locale. Returns `None` for a
/// directive that chat templates have no use for.
pub(super) fn strftime_now(format: &str) -> Option<String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    strftime(format, now.as_secs())
}

fn strftime(format: &str, seconds: u64) -> Option<String> {
    let (days, second_of_day) = (seconds / 86_400, seconds % 86_400);
    let (hour, minute, second) =
        (second_of_day / 3600, second_of_day / 60 % 60, second_of_day % 60);
    let (year, month, day) = civil_from_days(days);
    let month_name = MONTHS.get(usize::try_from(month).ok()?.checked_sub(1)?)?;
    let weekday = WEEKDAYS.get(usize::try_from(days % 7).ok()?)?;
    let mut text = String::new();
    let mut characters = format.chars();
    while let Some(character) = characters.next() {
        if character != '%' {
            text.push(character);
            continue;
        }
        match characters.next()? {
            'Y' => write!(text, "{year}"),
            'm' => write!(text, "{month:02}"),
            'd' => write!(text, "{day:02}"),
            'e' => write!(text, "{day:2}"),
            'B' => write!(text, "{month_name}"),
            'b' => write!(text, "{}", month_name.get(..3)?),
            'A' => write!(text, "{weekday}"),
            'a' => write!(text, "{}", weekday.get(..3)?),
            'H' => write!(text, "{hour:02}"),
            'M' => write!(text, "{minute:02}"),
            'S' => write!(text, "{second:02}"),
            '%' => write!(text, "%"),
            _ => return None,
        }
        .ok()?;
    }
    Some(text)
}

/// Year, month and day of a number of days since 1970-01-01 in the Gregorian calendar, after
/// H. Hinnant, "chrono-Compatible Low-Level Date Algorithms". Years begin in March here, which puts
/// the leap day last.
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written by GNU `date -u -d @SECONDS`.
    #[test]
    fn dates_are_those_of_date() {
        let format = "%Y-%m-%d %H:%M:%S %A %a %B %b %e %%";
        for (seconds, expected) in [
            (0, "1970-01-01 00:00:00 Thursday Thu January Jan  1 %"),
            (951_782_399, "2000-02-28 23:59:59 Monday Mon February Feb 28 %"),
            (951_782_400, "2000-02-29 00:00:00 Tuesday Tue February Feb 29 %"),
            (1_735_689_599, "2024-12-31 23:59:59 Tuesday Tue December Dec 31 %"),
            (4_107_542_400, "2100-03-01 00:00:00 Monday Mon March Mar  1 %"),
        ] {
            assert_eq!(strftime(format, seconds).unwrap(), expected);
        }
    }

    #[test]
    fn an_unknown_directive_is_refused() {
        assert_eq!(strftime("%Q", 0), None);
        assert_eq!(strftime("50%", 0), None);
    }
}
