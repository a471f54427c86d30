//! Bytes of strangers: messages, digests and text for a terminal.

use proptest::prelude::*;
use seatrial_core::action::Platform;
use seatrial_core::digest::Digest;
use seatrial_core::fuzz::bytes;
use seatrial_core::ids::{AttemptId, Epoch};
use seatrial_protocol::event::{NodeOutcome, RunEvent, Usage};
use seatrial_protocol::sanitise::sanitise;
use seatrial_protocol::worker::{AttemptEvent, FromWorker, Hello, ToWorker, decode, encode};

fn messages() -> Vec<Vec<u8>> {
    let attempt = AttemptId::from_uuid(uuid::Uuid::from_u128(7));
    let (epoch, usage) = (Epoch(3), Usage::default());
    let outcome = NodeOutcome::Done { output: Some(Digest::of("x")), hit: false };
    let event = AttemptEvent::TestsSelected { tests: vec![("p".into(), "T/x".into())], listed: 2 };
    let hello = Hello {
        version: seatrial_protocol::VERSION,
        platform: Platform::default(),
        cores: 2,
        memory: 1 << 30,
        environments: 1,
    };
    let said = [
        FromWorker::Hello(hello),
        FromWorker::Event { attempt, epoch, seq: 1, event },
        FromWorker::Result { attempt, epoch, outcome, usage, took_us: 5 },
    ];
    let told = [ToWorker::Cancel { attempt }, ToWorker::Drain];
    let run = br#"{"run":"0193d0c8-0000-7000-8000-000000000001","seq":4,"at_us":7,"event":"run-finished","verdict":"passed"}"#;
    said.iter().map(encode).chain(told.iter().map(encode)).chain([run.to_vec()]).collect()
}

proptest! {
    #[test]
    fn fuzz_messages(frame in bytes(&messages())) {
        if let Ok(message) = decode::<FromWorker>(&frame) {
            prop_assert_eq!(decode::<FromWorker>(&encode(&message)).expect("its own"), message);
        }
        if let Ok(message) = decode::<ToWorker>(&frame) {
            prop_assert_eq!(decode::<ToWorker>(&encode(&message)).expect("its own"), message);
        }
        if let Ok(event) = decode::<RunEvent>(&frame) {
            prop_assert_eq!(decode::<RunEvent>(&encode(&event)).expect("its own"), event);
        }
    }

    #[test]
    fn fuzz_digests(text in bytes(&[Digest::of("x").to_string()])) {
        if let Ok(text) = String::from_utf8(text.to_vec())
            && let Ok(digest) = text.parse::<Digest>()
        {
            prop_assert_eq!(digest.to_string(), text, "there is one way to write it");
        }
    }

    #[test]
    fn fuzz_terminal(
        text in bytes(
            &["\x1b[1;31mred\x1b[0m\r\n", "\x1b]8;;x\x07link\x1b]8;;\x1b\\", "\u{9b}2J\u{202e}\x1bP+q\x1b\\\x1b["]
        )
    ) {
        let text = String::from_utf8_lossy(&text);
        let safe = sanitise(&text).text;
        prop_assert!(safe.len() <= text.len() * 3 + 4, "{} of {}", safe.len(), text.len());
        // What stays is text, line feeds, tabs and colours; a second look finds nothing.
        for (at, c) in safe.char_indices().filter(|(_, c)| c.is_control()) {
            let colour = safe[at..].strip_prefix("\x1b[").is_some_and(|rest| {
                rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';' || c == ':').starts_with('m')
            });
            prop_assert!(matches!(c, '\n' | '\t') || colour, "{:?}", safe);
        }
        let again = sanitise(&safe);
        prop_assert_eq!((again.dropped, again.text), (0, safe));
    }
}
