//! Records in SQLite: one writer, a write-ahead log, every commit synced.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, TransactionBehavior, params};
use seatrial_core::digest::Digest;
use seatrial_core::ids::{Epoch, RunId};

use super::{
    ActionResult, Durations, Expected, Recorded, Records, RunRow, Scope, Series, find_run,
};
use crate::durable::at;
use crate::error::StoreError;
use crate::state_dir::StateDirProblem;

/// Version of the schema below, kept in `PRAGMA user_version`. A change of the
/// schema appends a step to [`MIGRATIONS`].
const SCHEMA: u32 = 1;

/// What brings the schema from version `index` to the next one.
const MIGRATIONS: [&str; SCHEMA as usize] = [include_str!("schema_1.sql")];

/// Records in `store.db`.
pub(crate) struct SqliteRecords {
    connection: Mutex<Connection>,
}

impl SqliteRecords {
    /// Opens or makes the database of a state directory.
    pub(crate) fn open(dir: &Path) -> Result<Self, StoreError> {
        let refuse = |problem| StoreError::StateDir { dir: dir.to_owned(), problem };
        let mut connection = Connection::open(dir.join("store.db"))
            .map_err(StoreError::records("open a database"))?;
        let found = configure(&connection).map_err(|error| match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::NotADatabase | rusqlite::ErrorCode::DatabaseCorrupt) => {
                refuse(StateDirProblem::Corrupt(corruption(&error)))
            }
            _ => StoreError::records("open the database")(error),
        })?;
        if found > SCHEMA {
            return Err(refuse(StateDirProblem::NewerSchema { found, known: SCHEMA }));
        }
        migrate(&mut connection).map_err(StoreError::records("prepare the tables"))?;
        let health: String = connection
            .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
            .map_err(StoreError::records("check the database"))?;
        if health != "ok" {
            return Err(refuse(StateDirProblem::Corrupt(health)));
        }
        Ok(Self { connection: Mutex::new(connection) })
    }

    /// Runs `work` as one transaction that no other process interrupts.
    pub(crate) fn write<T>(
        &self,
        what: &'static str,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, Abort>,
    ) -> Result<T, StoreError> {
        let mut connection = self.connection();
        let result = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(Abort::from)
            .and_then(|transaction| {
                let value = work(&transaction)?;
                at("before a commit");
                transaction.commit()?;
                at("after a commit");
                Ok(value)
            });
        result.map_err(|abort| match abort {
            Abort::Refused(error) => error,
            Abort::Database(error) => StoreError::records(what)(error),
        })
    }

    /// Runs `work`, which only reads.
    pub(crate) fn read<T>(
        &self,
        what: &'static str,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        work(&self.connection()).map_err(StoreError::records(what))
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        // A transaction that a panic cut short is rolled back when it is dropped.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a transaction is rolled back.
pub(crate) enum Abort {
    /// The operation is refused.
    Refused(StoreError),
    /// The database failed.
    Database(rusqlite::Error),
}

impl From<rusqlite::Error> for Abort {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error)
    }
}

/// Sets the connection up and returns the version of the schema.
fn configure(connection: &Connection) -> rusqlite::Result<u32> {
    connection.busy_timeout(Duration::from_secs(30))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

fn migrate(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let version: u32 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let done = usize::try_from(version).unwrap_or(MIGRATIONS.len());
    for step in MIGRATIONS.iter().skip(done) {
        transaction.execute_batch(step)?;
    }
    if version < SCHEMA {
        transaction.pragma_update(None, "user_version", SCHEMA)?;
    }
    transaction.commit()
}

fn corruption(error: &rusqlite::Error) -> String {
    match error {
        rusqlite::Error::SqliteFailure(_, Some(text)) => text.clone(),
        error => error.to_string(),
    }
}

/// A value kept as JSON text in a column.
fn from_json<T: serde::de::DeserializeOwned>(text: &str) -> rusqlite::Result<T> {
    serde_json::from_str(text).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, Box::new(error))
    })
}

fn to_json<T: serde::Serialize>(value: &T) -> rusqlite::Result<String> {
    serde_json::to_string(value)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
}

fn scope_of(text: &str) -> Scope {
    // Whatever is not known to be trusted is not.
    if text == "trusted" { Scope::Trusted } else { Scope::Untrusted }
}

fn run_row(row: &Row<'_>) -> rusqlite::Result<RunRow> {
    let id: String = row.get(0)?;
    let scope: String = row.get(1)?;
    Ok(RunRow {
        run: run_id(&id)?,
        scope: scope_of(&scope),
        events: row.get(2)?,
        state: row.get(3)?,
    })
}

fn run_id(text: &str) -> rusqlite::Result<RunId> {
    text.parse().map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, Box::new(error))
    })
}

fn find_action(
    connection: &Connection,
    key: Digest,
    scope: Scope,
) -> rusqlite::Result<Option<ActionResult>> {
    let text: Option<String> = connection
        .prepare_cached("SELECT result FROM actions WHERE key = ?1 AND scope = ?2")?
        .query_row(params![key.hex(), scope.to_string()], |row| row.get(0))
        .optional()?;
    text.map(|text| from_json(&text)).transpose()
}

impl Records for SqliteRecords {
    fn lookup(&self, key: Digest, scope: Scope) -> Result<Option<ActionResult>, StoreError> {
        self.read("find a result", |connection| find_action(connection, key, scope))
    }

    fn record(
        &self,
        key: Digest,
        scope: Scope,
        result: &ActionResult,
        replace: Option<&ActionResult>,
    ) -> Result<Recorded, StoreError> {
        self.write("record a result", |transaction| {
            match find_action(transaction, key, scope)? {
                Some(there) if there.outputs == result.outputs => return Ok(Recorded::Same),
                Some(there) if replace != Some(&there) => return Ok(Recorded::Conflict(there)),
                _ => {}
            }
            transaction
                .prepare_cached(
                    "INSERT OR REPLACE INTO actions (key, scope, result) VALUES (?1, ?2, ?3)",
                )?
                .execute(params![key.hex(), scope.to_string(), to_json(result)?])?;
            Ok(Recorded::Stored)
        })
    }

    fn next_epoch(&self, key: Digest, scope: Scope) -> Result<Epoch, StoreError> {
        self.write("lease an action", |transaction| {
            let epoch = transaction
                .prepare_cached(
                    "INSERT INTO epochs (key, scope, epoch) VALUES (?1, ?2, 1)
                     ON CONFLICT (key, scope) DO UPDATE SET epoch = epoch + 1 RETURNING epoch",
                )?
                .query_row(params![key.hex(), scope.to_string()], |row| row.get(0))?;
            Ok(Epoch(epoch))
        })
    }

    fn append_events(
        &self,
        run: RunId,
        scope: Scope,
        first_seq: u64,
        events: &[String],
        state: &str,
    ) -> Result<(), StoreError> {
        self.write("append events", |transaction| {
            let id = run.to_string();
            let there: Option<(i64, u64)> = transaction
                .prepare_cached("SELECT ordinal, events FROM runs WHERE run = ?1")?
                .query_row([&id], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?;
            let expected = there.map_or(0, |(_, events)| events);
            if expected != first_seq {
                let error = StoreError::Sequence { run: id, expected, found: first_seq };
                return Err(Abort::Refused(error));
            }
            let ordinal = match there {
                Some((ordinal, _)) => ordinal,
                None => transaction
                    .prepare_cached(
                        "INSERT INTO runs (run, scope, events, state) VALUES (?1, ?2, 0, '')
                         RETURNING ordinal",
                    )?
                    .query_row(params![id, scope.to_string()], |row| row.get(0))?,
            };
            let mut insert = transaction
                .prepare_cached("INSERT INTO events (run, seq, payload) VALUES (?1, ?2, ?3)")?;
            for (seq, payload) in (first_seq..).zip(events) {
                insert.execute(params![ordinal, seq, payload])?;
            }
            transaction
                .prepare_cached("UPDATE runs SET events = ?2, state = ?3 WHERE ordinal = ?1")?
                .execute(params![ordinal, first_seq + events.len() as u64, state])?;
            Ok(())
        })
    }

    fn events(&self, run: RunId, from: u64, limit: usize) -> Result<Vec<String>, StoreError> {
        self.read("read events", |connection| {
            connection
                .prepare_cached(
                    "SELECT payload FROM events JOIN runs ON runs.ordinal = events.run
                     WHERE runs.run = ?1 AND seq >= ?2 ORDER BY seq LIMIT ?3",
                )?
                .query_map(params![run.to_string(), clamp(from), clamp(limit as u64)], |row| {
                    row.get(0)
                })?
                .collect()
        })
    }

    fn runs(&self, limit: usize) -> Result<Vec<RunRow>, StoreError> {
        self.read("list runs", |connection| {
            connection
                .prepare_cached(
                    "SELECT run, scope, events, state FROM runs ORDER BY ordinal DESC LIMIT ?1",
                )?
                .query_map([clamp(limit as u64)], run_row)?
                .collect()
        })
    }

    fn run(&self, run: RunId) -> Result<Option<RunRow>, StoreError> {
        self.read("read a run", |connection| {
            connection
                .prepare_cached("SELECT run, scope, events, state FROM runs WHERE run = ?1")?
                .query_row([run.to_string()], run_row)
                .optional()
        })
    }

    fn forget_runs(&self, keep: usize) -> Result<Vec<RunId>, StoreError> {
        self.write("forget runs", |transaction| {
            let old: Vec<(i64, String)> = transaction
                .prepare_cached(
                    "SELECT ordinal, run FROM runs ORDER BY ordinal DESC LIMIT -1 OFFSET ?1",
                )?
                .query_map([clamp(keep as u64)], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect::<rusqlite::Result<_>>()?;
            let mut events = transaction.prepare_cached("DELETE FROM events WHERE run = ?1")?;
            let mut runs = transaction.prepare_cached("DELETE FROM runs WHERE ordinal = ?1")?;
            for (ordinal, _) in &old {
                events.execute([ordinal])?;
                runs.execute([ordinal])?;
            }
            Ok(old.into_iter().filter_map(|(_, run)| run.parse().ok()).collect())
        })
    }

    fn find_run(&self, text: &str) -> Result<RunId, StoreError> {
        let runs: Vec<RunId> = self.read("find a run", |connection| {
            connection
                .prepare_cached("SELECT run FROM runs ORDER BY ordinal")?
                .query_map([], |row| run_id(&row.get::<_, String>(0)?))?
                .collect()
        })?;
        find_run(&runs, text)
    }

    fn record_duration(
        &self,
        scope: Scope,
        series: Series<'_>,
        duration: Duration,
    ) -> Result<(), StoreError> {
        self.write("record a duration", |transaction| {
            let mut durations = find_durations(transaction, scope, series)?.unwrap_or_default();
            durations.add(duration);
            transaction
                .prepare_cached(
                    "INSERT OR REPLACE INTO durations (scope, series_group, name, durations)
                     VALUES (?1, ?2, ?3, ?4)",
                )?
                .execute(params![
                    scope.to_string(),
                    series.group,
                    series.name,
                    to_json(&durations)?
                ])?;
            Ok(())
        })
    }

    fn expected(&self, scope: Scope, series: Series<'_>) -> Result<Option<Expected>, StoreError> {
        let durations =
            self.read("read durations", |connection| find_durations(connection, scope, series))?;
        Ok(durations.and_then(|durations| durations.expected()))
    }

    fn expected_all(
        &self,
        scope: Scope,
        group: &str,
    ) -> Result<BTreeMap<String, Expected>, StoreError> {
        self.read("read durations", |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT name, durations FROM durations WHERE scope = ?1 AND series_group = ?2",
            )?;
            let rows = statement.query_map(params![scope.to_string(), group], |row| {
                Ok((row.get(0)?, from_json::<Durations>(&row.get::<_, String>(1)?)?))
            })?;
            let mut all = BTreeMap::new();
            for row in rows {
                let (name, durations): (String, _) = row?;
                all.extend(durations.expected().map(|expected| (name, expected)));
            }
            Ok(all)
        })
    }
}

fn find_durations(
    connection: &Connection,
    scope: Scope,
    series: Series<'_>,
) -> rusqlite::Result<Option<Durations>> {
    let text: Option<String> = connection
        .prepare_cached(
            "SELECT durations FROM durations
             WHERE scope = ?1 AND series_group = ?2 AND name = ?3",
        )?
        .query_row(params![scope.to_string(), series.group, series.name], |row| row.get(0))
        .optional()?;
    text.map(|text| from_json(&text)).transpose()
}

/// SQLite has signed integers.
fn clamp(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
