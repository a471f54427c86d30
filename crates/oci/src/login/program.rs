//! Programs that keep credentials: the protocol of docker-credential-helpers.

use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;

use super::{CredentialUser, LoginKind};

/// How long a program may take: it may ask its user.
const PATIENCE: Duration = Duration::from_secs(60);
/// Most bytes of an answer.
const LARGEST: u64 = 64 << 10;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: String,
}

/// Asks a program for what it has for a server; `None`: nothing. What it writes
/// is in no error, as it may be what nobody is to see. Called from a thread that
/// may block.
pub(super) fn ask(
    program: &str,
    server: &str,
    user: Option<&CredentialUser>,
) -> Result<Option<LoginKind>, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("cannot wait for it: {error}"))?;
    let asked = async { tokio::time::timeout(PATIENCE, run(program, server, user)).await };
    let answered = runtime.block_on(asked);
    answered.map_err(|_| format!("it did not answer within {} s", PATIENCE.as_secs()))?
}

async fn run(
    program: &str,
    server: &str,
    user: Option<&CredentialUser>,
) -> Result<Option<LoginKind>, String> {
    let mut command = Command::new(program);
    command.arg("get").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    command.kill_on_drop(true);
    if let Some(user) = user {
        let runtime_dir = format!("/run/user/{}", user.uid);
        command.uid(user.uid).gid(user.gid).current_dir("/");
        command.env("HOME", &user.home).env("USER", &user.name).env("LOGNAME", &user.name);
        command.env("XDG_RUNTIME_DIR", runtime_dir);
    }
    let mut child = command.spawn().map_err(|error| format!("it cannot be started: {error}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that does not care what is asked may be gone already.
        let _ = stdin.write_all(format!("{server}\n").as_bytes()).await;
    }
    let mut text = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        let read = stdout.take(LARGEST + 1).read_to_end(&mut text).await;
        read.map_err(|error| format!("it cannot be read: {error}"))?;
    }
    if text.len() as u64 > LARGEST {
        return Err(format!("it says more than {} KiB", LARGEST >> 10));
    }
    let status = child.wait().await.map_err(|error| format!("it cannot be waited for: {error}"))?;
    if !status.success() {
        // It says so in the same words everywhere, on standard output.
        let none = text.trim_ascii() == b"credentials not found in native keychain";
        return if none { Ok(None) } else { Err(format!("it ended with {status}")) };
    }
    let Ok(Answer { username, secret }) = serde_json::from_slice(&text) else {
        return Err("it gives no credentials".to_owned());
    };
    Ok(Some(match username.as_str() {
        "<token>" => LoginKind::Identity(secret),
        _ => LoginKind::Password { user: username, password: secret },
    }))
}
