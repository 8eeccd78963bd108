use std::fmt::Write as _;
use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use crate::Limits;

/// How many instructions SQLite runs between two looks at the clock: some 20 microseconds of
/// ordinary work.
const INSTRUCTIONS_PER_LOOK: i32 = 1_000;

/// Opens an existing database, given by its absolute path, so that nothing done through the
/// connection can change a file, and with every limit set. Statements stop at `deadline`.
///
/// The authorizer comes later, because it would also forbid reading the schema.
pub(crate) fn open(
    path: &Path,
    limits: &Limits,
    deadline: Instant,
) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = if is_closed_wal(path) {
        // A read-only connection to a database in WAL mode creates the missing `-wal` and `-shm`
        // files, or fails where it may not. Without a `-wal` file nobody has the database open and
        // all of its content is in the one file, which can be read as if it never changed.
        let flags = flags | OpenFlags::SQLITE_OPEN_URI;
        Connection::open_with_flags(immutable_uri(path), flags)?
    } else {
        Connection::open_with_flags(path, flags)?
    };
    connection.progress_handler(INSTRUCTIONS_PER_LOOK, Some(move || Instant::now() >= deadline))?;
    connection.busy_timeout(deadline.saturating_duration_since(Instant::now()))?;
    limits.apply(&connection)?;
    for (option, value) in [
        (DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true),
        // Views, generated columns and the like may not call functions with side effects.
        (DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_FTS3_TOKENIZER, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_ATTACH_CREATE, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_ATTACH_WRITE, false),
        (DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true),
    ] {
        connection.set_db_config(option, value)?;
    }
    connection.pragma_update(None, "query_only", true)?;
    if limits.heap_bytes > 0 {
        let bytes = i64::try_from(limits.heap_bytes).unwrap_or(i64::MAX);
        connection.pragma_update_and_check(None, "hard_heap_limit", bytes, |_| Ok(()))?;
    }
    // Sorting and grouping spill to temporary files that have no name, SQLite's default, so they
    // take little memory and leave nothing behind.
    Ok(connection)
}

/// Whether the database is in WAL mode and has no WAL beside it.
fn is_closed_wal(path: &Path) -> bool {
    // https://www.sqlite.org/fileformat.html: bytes 18 and 19 are the file format's write and read
    // versions, 2 for WAL.
    let mut header = [0; 20];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut header));
    let mut write_ahead_log = path.as_os_str().to_owned();
    write_ahead_log.push("-wal");
    let absent = matches!(
        PathBuf::from(write_ahead_log).symlink_metadata(),
        Err(error) if error.kind() == ErrorKind::NotFound
    );
    read.is_ok() && header.ends_with(&[2, 2]) && absent
}

/// <https://www.sqlite.org/uri.html>
fn immutable_uri(path: &Path) -> String {
    let mut uri = String::from("file://");
    for &byte in path.as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() || b"/-_.~".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(uri, "%{byte:02X}");
        }
    }
    uri.push_str("?immutable=1");
    uri
}
