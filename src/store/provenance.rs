//! `provenance.json`: when, how and where a run was made. Apart from `summary.json`, because it differs between two
//! runs that give the same numbers.

use super::files::{FileError, names, read_text, write_atomic};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// Where a result comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provenance {
    /// Version of weylflow that wrote the result.
    pub version: String,
    /// When the result was written, in coordinated universal time: `2026-08-01 14:03:27 UTC`.
    pub finished: String,
    /// The command, as a shell would take it.
    pub command: String,
    /// Processors that the host offers to the (first) process.
    pub cores: usize,
    /// Architecture and system of the host.
    pub host: String,
}

impl Provenance {
    /// Of this process, now.
    pub fn here() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |t| t.as_secs());
        let arguments = std::env::args_os().skip(1);
        Provenance {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            finished: utc(since),
            command: arguments.fold("weylflow".to_owned(), |command, argument| {
                format!("{command} {}", quoted(&argument.to_string_lossy()))
            }),
            // A host that does not tell has at least the one that runs this.
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            host: format!("{} {}", std::env::consts::ARCH, std::env::consts::OS),
        }
    }

    /// Writes the `provenance.json` of a folder, atomically.
    ///
    /// # Errors
    /// [`FileError::Io`] if the file cannot be written.
    pub fn write(&self, folder: &Path) -> Result<(), FileError> {
        // Serialising a plain struct of numbers and strings to memory has no way to fail.
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        write_atomic(&folder.join(names::PROVENANCE), text.as_bytes())
    }

    /// Reads that of a folder; `None` where there is no such file, as in folders of older versions.
    ///
    /// # Errors
    /// [`FileError::Malformed`] with the line, or [`FileError`] of reading.
    pub fn read(folder: &Path) -> Result<Option<Self>, FileError> {
        let path = folder.join(names::PROVENANCE);
        if !path.exists() {
            return Ok(None);
        }
        serde_json::from_str(&read_text(&path)?).map(Some).map_err(|e| FileError::Malformed {
            path,
            line: e.line(),
            message: e.to_string(),
        })
    }
}

/// An argument as a POSIX shell takes it back. Control characters are written as escapes, which shows them without
/// sending them to whoever displays the text.
fn quoted(argument: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "_@%+=:,./-".contains(c);
    if !argument.is_empty() && argument.chars().all(plain) {
        return argument.to_owned();
    }
    let mut text = String::from("'");
    for c in argument.chars() {
        match c {
            '\'' => text.push_str("'\\''"),
            c if c.is_control() => text.extend(c.escape_default()),
            c => text.push(c),
        }
    }
    text.push('\'');
    text
}

/// Seconds since 1970 as date and time of the Gregorian calendar.
fn utc(seconds: u64) -> String {
    let (mut days, time) = (seconds / 86_400, seconds % 86_400);
    let leap = |y: u64| y.is_multiple_of(4) && (!y.is_multiple_of(100) || y.is_multiple_of(400));
    let mut year = 1970;
    // A clock beyond this is wrong; the loop should end all the same.
    while year < 9999 && days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let february = 28 + u64::from(leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    format!(
        "{year}-{month:02}-{:02} {:02}:{:02}:{:02} UTC",
        days + 1,
        time / 3600,
        time / 60 % 60,
        time % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_the_calendar() {
        for (seconds, expected) in [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_399, "2000-02-28 23:59:59 UTC"),
            (951_782_400, "2000-02-29 00:00:00 UTC"),
            (951_868_800, "2000-03-01 00:00:00 UTC"),
            (1_704_067_199, "2023-12-31 23:59:59 UTC"),
            (1_735_603_200, "2024-12-31 00:00:00 UTC"),
            (1_735_689_600, "2025-01-01 00:00:00 UTC"),
            (4_107_542_400, "2100-03-01 00:00:00 UTC"),
        ] {
            assert_eq!(utc(seconds), expected);
        }
        assert!(utc(u64::MAX).starts_with("9999-12-"));
    }

    #[test]
    fn commands_can_be_pasted_into_a_shell() {
        assert_eq!(quoted("runs/helium.ron"), "runs/helium.ron");
        assert_eq!(quoted(""), "''");
        assert_eq!(quoted("a b"), "'a b'");
        assert_eq!(quoted("it's; $x"), "'it'\\''s; $x'");
        assert_eq!(quoted("\u{1b}[31m"), "'\\u{1b}[31m'");
    }

    #[test]
    fn it_round_trips_and_old_folders_have_none() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Provenance::read(folder.path()).unwrap(), None);
        let here = Provenance::here();
        here.write(folder.path()).unwrap();
        assert_eq!(Provenance::read(folder.path()).unwrap(), Some(here));
        std::fs::write(folder.path().join(names::PROVENANCE), "{\n}").unwrap();
        let message = Provenance::read(folder.path()).unwrap_err().to_string();
        assert!(message.contains("provenance.json`, line 2"), "{message}");
    }
}
