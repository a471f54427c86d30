use super::*;

fn id(kind: &str, name: &str) -> ObjectId {
    ObjectId {
        api_version: "apps/v1".to_owned(),
        kind: kind.to_owned(),
        namespace: Some("shop".to_owned()),
        name: name.to_owned(),
    }
}

#[test]
fn a_crashing_container_is_shown_with_its_log_and_warnings() {
    let event = |time: &str, about: &str, reason: &str, message: &str, count| EventLine {
        time: format!("2026-11-24T{time}Z"),
        namespace: "shop".to_owned(),
        kind: "Pod".to_owned(),
        about: about.to_owned(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        count,
        warning: true,
    };
    let account = Account {
        object: "Deployment shop/web".to_owned(),
        state: "0 of 2 replicas are available".to_owned(),
        pods: vec![PodAccount {
            name: "web-7d9f-x2x9z".to_owned(),
            phase: "Running".to_owned(),
            troubles: vec![
                "container app: it ends again and again: restarted 3 times, exit code 1 (Error)"
                    .to_owned(),
            ],
            logs: vec![LogTail {
                container: "app".to_owned(),
                previous: true,
                text: "starting\n\x1b[31mpanic\x1b[0m: no such host: db\n".to_owned(),
            }],
        }],
        hidden_pods: 1,
        events: vec![event("10:00:09", "web-7d9f-x2x9z", "BackOff", "Back-off restarting", 3)],
    };
    insta::assert_snapshot!(detail(&[account], 0), @r"
    Deployment shop/web: 0 of 2 replicas are available
      pod web-7d9f-x2x9z: Running
        container app: it ends again and again: restarted 3 times, exit code 1 (Error)
        end of the log of app, before its last start:
          | starting
          | \u{1b}[31mpanic\u{1b}[0m: no such host: db
      and 1 more pods that are not ready
      warnings:
        10:00:09Z Pod web-7d9f-x2x9z: BackOff: Back-off restarting (3 times)
    ");
}

fn item(readiness: Readiness, troubles: Vec<(String, Trouble)>, over: Option<usize>) -> JudgedItem {
    JudgedItem::example(id("Deployment", "web"), readiness, troubles, over)
}

fn show(failure: &Failure) -> String {
    format!(
        "{:?} {}\n{}\n{}",
        failure.fault,
        failure.code,
        failure.message,
        failure.hints.join("\n")
    )
}

#[test]
fn the_message_says_what_ended_it() {
    let pending = || Readiness::Pending("0 of 2 replicas are available".to_owned());
    let trouble = |kind, said: &str| {
        let container = Some("app".to_owned());
        vec![("web-1".to_owned(), Trouble { container, kind, said: said.to_owned() })]
    };
    let missing = item(
        pending(),
        trouble(TroubleKind::ImageNotFound, "ErrImagePull: ghcr.io/shop/web:1: not found"),
        Some(0),
    );
    insta::assert_snapshot!(show(&verdict(&[&missing, &missing], 11)), @r"
    Product deploy.image_not_found
    Deployment shop/web cannot become ready: pod web-1: container app: its image does not exist: ErrImagePull: ghcr.io/shop/web:1: not found (and 1 more is not ready)
    an image that this run builds needs its name in `replaces` under `images:`; any other has to be reachable from the environment
    ");
    let unschedulable = Trouble {
        container: None,
        kind: TroubleKind::Unschedulable,
        said: "0/1 nodes are available: 1 Insufficient memory.".to_owned(),
    };
    let crowded = item(pending(), vec![("web-1".to_owned(), unschedulable)], Some(0));
    insta::assert_snapshot!(show(&verdict(&[&crowded], 21)), @r"
    Environment deploy.unschedulable
    Deployment shop/web cannot become ready: pod web-1: no node can take it: 0/1 nodes are available: 1 Insufficient memory.
    lower the requests of the pods or raise `resources` of the cluster under `environments:`
    ");
    let late =
        item(pending(), trouble(TroubleKind::Crash, "restarted once, exit code 1 (Error)"), None);
    insta::assert_snapshot!(show(&verdict(&[&late], 120)), @r"
    Product deploy.not_ready
    Deployment shop/web is not ready after 120 s: 0 of 2 replicas are available; pod web-1: container app: it ends again and again: restarted once, exit code 1 (Error)
    ");
    let failed = item(Readiness::Failed("it made no progress in time".to_owned()), vec![], None);
    insta::assert_snapshot!(show(&verdict(&[&failed], 600)), @r"
    Product deploy.failed
    Deployment shop/web failed: it made no progress in time
    ");
}

#[test]
fn events_belong_to_an_object_by_name() {
    let event = |kind: &str, about: &str| EventLine {
        kind: kind.to_owned(),
        about: about.to_owned(),
        ..EventLine::default()
    };
    let web = id("Deployment", "web");
    assert!(is_about(&event("Deployment", "web"), &web));
    assert!(is_about(&event("Pod", "web-7d9f-x2x9z"), &web));
    assert!(is_about(&event("ReplicaSet", "web-7d9f"), &web));
    assert!(!is_about(&event("Service", "web"), &web));
    assert!(!is_about(&event("Pod", "webhook-1"), &web));
    assert!(!is_about(&event("Deployment", "web-admin"), &web));
}
