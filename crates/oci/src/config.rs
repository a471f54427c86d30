//! The configuration of an image: OCI image specification v1.1, `config.md`.

use seatrial_core::pipeline::ImageConfig;
use serde_json::{Map, Value, json};

use crate::error::ImageError;

/// The time of everything in an image.
const CREATED: &str = "1970-01-01T00:00:00Z";

/// Puts a configuration on top of the one of a base (`None`: scratch), for one
/// more layer or none. Keys come out sorted, so that the bytes are always the
/// same; what a base has and this does not know stays.
pub(crate) fn configure(
    base: Option<&[u8]>,
    config: &ImageConfig,
    platform: &str,
    layer: Option<&str>,
) -> Result<Vec<u8>, ImageError> {
    let mut image = match base {
        None => Map::new(),
        Some(bytes) => match serde_json::from_slice(bytes) {
            Ok(Value::Object(image)) => image,
            _ => return Err(ImageError::Base("its configuration is not an object".to_owned())),
        },
    };
    if base.is_none() {
        let (os, architecture) = platform.split_once('/').unwrap_or(("linux", platform));
        image.insert("os".to_owned(), os.into());
        image.insert("architecture".to_owned(), architecture.into());
    }
    image.insert("created".to_owned(), CREATED.into());

    let rootfs = image.entry("rootfs").or_insert_with(|| json!({ "type": "layers" }));
    let diffs = list(object(rootfs, "rootfs")?, "diff_ids")?;
    diffs.extend(layer.map(Value::from));
    let count = diffs.len();
    // A history says one thing for each layer or it is left out.
    if layer.is_some() && (base.is_none() || image.contains_key("history")) {
        let entry = json!({ "created": CREATED, "created_by": "seatrial" });
        list(&mut image, "history")?.push(entry);
    }
    if count > 127 {
        return Err(ImageError::Base(format!("it would have {count} layers, 127 can be mounted")));
    }
    start(object(image.entry("config").or_insert_with(|| json!({})), "config")?, config)?;
    Ok(serde_json::to_vec(&image).expect("JSON values are JSON"))
}

/// How a container starts. What is given replaces what the base has; variables,
/// ports and labels are added to it. A new entrypoint does not get the old
/// arguments.
fn start(image: &mut Map<String, Value>, config: &ImageConfig) -> Result<(), ImageError> {
    if !config.entrypoint.is_empty() {
        image.insert("Entrypoint".to_owned(), config.entrypoint.clone().into());
        image.remove("Cmd");
    }
    if !config.cmd.is_empty() {
        image.insert("Cmd".to_owned(), config.cmd.clone().into());
    }
    if !config.env.is_empty() {
        let all = list(image, "Env")?;
        for (name, value) in &config.env {
            let begin = format!("{name}=");
            all.retain(|old| !old.as_str().is_some_and(|old| old.starts_with(&begin)));
            all.push(format!("{begin}{value}").into());
        }
    }
    if let Some(user) = &config.user {
        image.insert("User".to_owned(), user.as_str().into());
    }
    if let Some(workdir) = &config.workdir {
        image.insert("WorkingDir".to_owned(), workdir.as_str().into());
    }
    if !config.ports.is_empty() {
        let ports =
            object(image.entry("ExposedPorts").or_insert_with(|| json!({})), "ExposedPorts")?;
        for port in &config.ports {
            let port = if port.contains('/') { port.clone() } else { format!("{port}/tcp") };
            ports.insert(port, json!({}));
        }
    }
    if !config.volumes.is_empty() {
        let volumes = object(image.entry("Volumes").or_insert_with(|| json!({})), "Volumes")?;
        for volume in &config.volumes {
            volumes.insert(volume.clone(), json!({}));
        }
    }
    if let Some(signal) = &config.stop_signal {
        image.insert("StopSignal".to_owned(), signal.as_str().into());
    }
    if !config.labels.is_empty() {
        let labels = object(image.entry("Labels").or_insert_with(|| json!({})), "Labels")?;
        for (name, value) in &config.labels {
            labels.insert(name.clone(), value.as_str().into());
        }
    }
    Ok(())
}

/// A value that must be an object; null, as some tools write, is an empty one.
fn object<'a>(value: &'a mut Value, name: &str) -> Result<&'a mut Map<String, Value>, ImageError> {
    if value.is_null() {
        *value = json!({});
    }
    let wrong = || ImageError::Base(format!("`{name}` of its configuration is not an object"));
    value.as_object_mut().ok_or_else(wrong)
}

fn list<'a>(
    within: &'a mut Map<String, Value>,
    name: &str,
) -> Result<&'a mut Vec<Value>, ImageError> {
    let value = within.entry(name).or_insert_with(|| json!([]));
    if value.is_null() {
        *value = json!([]);
    }
    let wrong = || ImageError::Base(format!("`{name}` of its configuration is not a list"));
    value.as_array_mut().ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: Vec<u8>) -> String {
        String::from_utf8(bytes).expect("UTF-8")
    }

    #[test]
    fn from_scratch() {
        let config = ImageConfig {
            entrypoint: vec!["/server".into()],
            env: [("B".into(), "2".into()), ("A".into(), "1".into())].into(),
            user: Some("65532".into()),
            ports: vec!["8080".into(), "53/udp".into()],
            ..ImageConfig::default()
        };
        let bytes = configure(None, &config, "linux/amd64", Some("sha256:x")).expect("config");
        insta::assert_snapshot!(text(bytes), @r#"{"architecture":"amd64","config":{"Entrypoint":["/server"],"Env":["A=1","B=2"],"ExposedPorts":{"53/udp":{},"8080/tcp":{}},"User":"65532"},"created":"1970-01-01T00:00:00Z","history":[{"created":"1970-01-01T00:00:00Z","created_by":"seatrial"}],"os":"linux","rootfs":{"diff_ids":["sha256:x"],"type":"layers"}}"#);
    }

    #[test]
    fn on_top_of_a_base() {
        let base = br#"{"os":"linux","architecture":"arm64","x-own":1,
            "rootfs":{"type":"layers","diff_ids":["sha256:a"]},"config":{"Env":["PATH=/bin","A=0"],
            "Entrypoint":["sh"],"Cmd":["-c"],"Labels":null}}"#;
        let config = ImageConfig {
            entrypoint: vec!["/server".into()],
            env: [("A".into(), "1".into())].into(),
            labels: [("l".into(), "v".into())].into(),
            ..ImageConfig::default()
        };
        let bytes =
            configure(Some(base), &config, "linux/amd64", Some("sha256:b")).expect("config");
        insta::assert_snapshot!(text(bytes), @r#"{"architecture":"arm64","config":{"Entrypoint":["/server"],"Env":["PATH=/bin","A=1"],"Labels":{"l":"v"}},"created":"1970-01-01T00:00:00Z","os":"linux","rootfs":{"diff_ids":["sha256:a","sha256:b"],"type":"layers"},"x-own":1}"#);
        let unchanged = configure(Some(base), &ImageConfig::default(), "linux/amd64", None);
        insta::assert_snapshot!(text(unchanged.expect("config")), @r#"{"architecture":"arm64","config":{"Cmd":["-c"],"Entrypoint":["sh"],"Env":["PATH=/bin","A=0"],"Labels":null},"created":"1970-01-01T00:00:00Z","os":"linux","rootfs":{"diff_ids":["sha256:a"],"type":"layers"},"x-own":1}"#);
    }

    #[test]
    fn bases_that_are_refused() {
        let refusal = |base: &str| {
            let config =
                ImageConfig { env: [("A".into(), "1".into())].into(), ..Default::default() };
            configure(Some(base.as_bytes()), &config, "linux/amd64", None)
                .expect_err("bad")
                .to_string()
        };
        let begin = "the base image cannot be used:";
        assert_eq!(refusal("[]"), format!("{begin} its configuration is not an object"));
        assert_eq!(
            refusal(r#"{"rootfs":7}"#),
            format!("{begin} `rootfs` of its configuration is not an object")
        );
        assert_eq!(
            refusal(r#"{"config":{"Env":{}}}"#),
            format!("{begin} `Env` of its configuration is not a list")
        );
    }
}
