use std::time::Duration;

use super::*;

/// A board for one condition, told what happens in JSON.
struct Watching {
    board: Board,
    start: Instant,
}

impl Watching {
    fn new(kind: Kind, name: &str, wanted: Wanted) -> Self {
        let start = Instant::now();
        let mut board = Board::default();
        let condition = ReadyCondition {
            api_version: None,
            kind: kind.resource.kind.clone(),
            namespace: None,
            name: name.to_owned(),
            wanted,
            within: None,
        };
        board.add(condition, kind, "shop", start + Duration::from_secs(120));
        Self { board, start }
    }

    fn tables(&self) -> Vec<String> {
        let plural = |(kind, namespace): (&Kind, Option<&str>)| {
            format!("{} in {}", kind.resource.plural, namespace.unwrap_or("-"))
        };
        self.board.tables().map(plural).collect()
    }

    fn index(&self, plural: &str) -> usize {
        let found = self.board.tables.iter().position(|t| t.kind.resource.plural == plural);
        found.expect("it is watched")
    }

    fn event(&mut self, plural: &str, seconds: u64, event: Event<DynamicObject>) {
        let index = self.index(plural);
        self.board.observe(index, Ok(event), self.start + Duration::from_secs(seconds));
    }

    /// The first list of a kind.
    fn listed(&mut self, plural: &str, objects: &[Value]) {
        self.event(plural, 0, Event::Init);
        for object in objects {
            self.event(plural, 0, Event::InitApply(parse(object)));
        }
        self.event(plural, 0, Event::InitDone);
    }

    fn at(&self, seconds: u64) -> Judged {
        self.board.judge(self.start + Duration::from_secs(seconds))
    }

    /// How it ends, and how the only item stands.
    fn shows(&self, seconds: u64) -> String {
        let judged = self.at(seconds);
        let end = match judged.end() {
            End::Ready => "ready".to_owned(),
            End::Never => "never".to_owned(),
            End::Open { wake } => format!("open until {}", (wake - self.start).as_secs()),
        };
        let item = &judged.items[0];
        let over = item.over.map(|place| format!(", {:?}", item.troubles[place].1.kind));
        match &item.readiness {
            Readiness::Ready => end,
            Readiness::Pending(reason) => format!("{end}: {reason}{}", over.unwrap_or_default()),
            Readiness::Failed(reason) => format!("{end}: failed: {reason}"),
        }
    }
}

fn parse(object: &Value) -> DynamicObject {
    serde_json::from_value(object.clone()).expect("it is an object")
}

fn deployment() -> Kind {
    Kind::namespaced("apps", "v1", "Deployment", "deployments")
}

fn web(available: u32) -> Value {
    json!({
        "metadata": { "namespace": "shop", "name": "web", "generation": 1 },
        "spec": {
            "replicas": 1,
            "selector": { "matchLabels": { "app": "web" } },
            "template": { "spec": { "containers": [{ "name": "app", "image": "web:2" }] } },
        },
        "status": {
            "observedGeneration": 1, "replicas": 1, "updatedReplicas": 1,
            "availableReplicas": available,
        },
    })
}

fn pod(name: &str, app: &str, image: &str, waiting: &str) -> Value {
    json!({
        "metadata": { "namespace": "shop", "name": name, "labels": { "app": app } },
        "spec": { "containers": [{ "name": "app", "image": image }] },
        "status": { "containerStatuses": [{
            "name": "app", "restartCount": 5, "state": { "waiting": { "reason": waiting } },
        }]},
    })
}

/// A pod of `web` whose container runs, in its life number `restarts`.
fn up(name: &str, restarts: u32, probe: bool) -> Value {
    let mut pod = pod(name, "web", "web:2", "");
    pod["status"]["containerStatuses"][0]["restartCount"] = restarts.into();
    pod["status"]["containerStatuses"][0]["state"] = json!({ "running": {} });
    if probe {
        pod["spec"]["containers"][0]["readinessProbe"] = json!({ "httpGet": {} });
    }
    pod
}

#[test]
fn what_nothing_vouches_for_has_to_stay_up_for_a_while() {
    let mut watching = Watching::new(deployment(), "web", Wanted::condition("Available"));
    let available = |status: &str| {
        let mut web = web(1);
        web["status"]["conditions"] = json!([{ "type": "Available", "status": status }]);
        web
    };
    watching.listed("deployments", &[available("True")]);
    assert_eq!(watching.shows(0), "open until 120: its pods are not known yet");
    watching.listed("pods", &[]);
    assert_eq!(watching.shows(0), "open until 120: 0 of 1 pods are there");
    watching.event("pods", 1, Event::Apply(parse(&up("web-1", 0, false))));
    let settling = "open until 6: pod web-1: container app has run for less than 5 s";
    assert_eq!(watching.shows(1), settling);
    // What else is said of it does not begin its life again.
    watching.event("pods", 2, Event::Apply(parse(&up("web-1", 0, false))));
    assert_eq!(watching.shows(2), settling);
    assert_eq!(watching.shows(6), "ready");

    // It dies, and its Deployment says that it is available all the same.
    let mut ended = up("web-1", 0, false);
    ended["status"]["containerStatuses"][0]["state"] =
        json!({ "terminated": { "exitCode": 1, "reason": "Error" } });
    watching.event("pods", 7, Event::Apply(parse(&ended)));
    let expected = "open until 120: pod web-1: container app ended: exit code 1 (Error)";
    assert_eq!(watching.shows(7), expected);
    let mut again = up("web-1", 1, false);
    again["status"]["containerStatuses"][0]["lastState"] = json!({ "terminated": {
        "exitCode": 1, "startedAt": "2026-11-24T10:00:00Z", "finishedAt": "2026-11-24T10:00:04Z",
    }});
    watching.event("pods", 8, Event::Apply(parse(&again)));
    let expected = "open until 21: pod web-1: container app has run for less than 13 s";
    assert_eq!(watching.shows(20), expected);
    let mut looping = again.clone();
    looping["status"]["containerStatuses"][0]["restartCount"] = 3.into();
    looping["status"]["containerStatuses"][0]["state"] =
        json!({ "waiting": { "reason": "CrashLoopBackOff" } });
    watching.event("pods", 20, Event::Apply(parse(&looping)));
    assert_eq!(watching.shows(20), "never: pod web-1: container app does not run, Crash");
    watching.event("pods", 22, Event::Apply(parse(&again)));
    assert_eq!(watching.shows(35), "ready");

    // Who waits for something that is not there, waits for just that.
    let mut watching = Watching::new(deployment(), "web", Wanted::condition("Available=False"));
    watching.listed("deployments", &[available("False")]);
    watching.listed("pods", &[]);
    assert_eq!(watching.shows(1), "ready");
}

#[test]
fn a_deployment_is_watched_with_its_pods_until_it_is_available() {
    let mut watching = Watching::new(deployment(), "web", Wanted::Ready);
    assert_eq!(watching.tables(), ["pods in shop", "deployments in shop"]);
    assert_eq!(watching.shows(0), "open until 120: its state is not known yet");
    watching.listed("deployments", &[]);
    watching.listed("pods", &[]);
    assert_eq!(watching.shows(0), "open until 120: it does not exist");
    watching.event("deployments", 1, Event::Apply(parse(&web(0))));
    assert_eq!(watching.shows(1), "open until 120: 0 of 1 replicas are available");
    assert_eq!(watching.shows(120), "never: 0 of 1 replicas are available");
    watching.event("pods", 2, Event::Apply(parse(&up("web-1", 0, true))));
    watching.event("deployments", 2, Event::Apply(parse(&web(1))));
    assert_eq!(watching.shows(2), "ready");
    watching.event("deployments", 3, Event::Delete(parse(&web(1))));
    assert_eq!(watching.shows(3), "open until 120: it does not exist");
}

#[test]
fn what_a_new_list_does_not_have_is_gone() {
    let mut watching = Watching::new(deployment(), "web", Wanted::Ready);
    watching.listed("deployments", &[web(1)]);
    watching.listed("pods", &[up("web-1", 0, true)]);
    assert_eq!(watching.shows(1), "ready");
    watching.listed("deployments", &[]);
    assert_eq!(watching.shows(1), "open until 120: it does not exist");
}

#[test]
fn a_pod_that_cannot_run_ends_the_wait_for_its_owner_only() {
    let mut watching = Watching::new(deployment(), "web", Wanted::Ready);
    watching.listed("deployments", &[web(0)]);
    let mut going = pod("web-going", "web", "web:2", "CrashLoopBackOff");
    going["metadata"]["deletionTimestamp"] = "2026-11-24T10:00:00Z".into();
    watching.listed(
        "pods",
        &[
            pod("other-1", "other", "web:2", "CrashLoopBackOff"),
            pod("web-old", "web", "web:1", "CrashLoopBackOff"),
            going,
        ],
    );
    assert_eq!(watching.shows(1), "open until 120: 0 of 1 replicas are available");
    let broken = parse(&pod("web-1", "web", "web:2", "CrashLoopBackOff"));
    watching.event("pods", 2, Event::Apply(broken.clone()));
    assert_eq!(watching.shows(2), "never: 0 of 1 replicas are available, Crash");
    // That its Deployment thinks better of it changes nothing.
    watching.event("deployments", 3, Event::Apply(parse(&web(1))));
    assert_eq!(watching.shows(3), "never: pod web-1: container app does not run, Crash");
    watching.event("deployments", 4, Event::Apply(parse(&web(0))));
    watching.event("pods", 4, Event::Delete(broken));
    assert_eq!(watching.shows(4), "open until 120: 0 of 1 replicas are available");
}

#[test]
fn what_somebody_else_could_mend_is_over_when_it_stands_without_a_break() {
    let mut watching = Watching::new(deployment(), "web", Wanted::Ready);
    watching.listed("deployments", &[web(0)]);
    watching.listed("pods", &[]);
    let state = |waiting| Event::Apply(parse(&pod("web-1", "web", "web:2", waiting)));
    watching.event("pods", 5, state("CreateContainerConfigError"));
    assert_eq!(watching.shows(5), "open until 25: 0 of 1 replicas are available");
    watching.event("pods", 20, state("ContainerCreating"));
    watching.event("pods", 21, state("CreateContainerConfigError"));
    assert_eq!(watching.shows(25), "open until 41: 0 of 1 replicas are available");
    watching.event("pods", 30, state("CreateContainerConfigError"));
    assert_eq!(watching.shows(41), "never: 0 of 1 replicas are available, Container");
}

#[test]
fn pods_that_are_refused_and_deployments_without_pods() {
    let mut watching = Watching::new(deployment(), "web", Wanted::condition("Available"));
    let mut refused = web(0);
    refused["status"]["conditions"] = json!([{
        "type": "ReplicaFailure", "status": "True", "reason": "FailedCreate",
        "message": "exceeded quota: pods=0",
    }]);
    watching.listed("deployments", &[refused]);
    watching.listed("pods", &[]);
    assert_eq!(watching.shows(0), "open until 20: it has no condition Available yet");
    assert_eq!(watching.shows(20), "never: it has no condition Available yet, Refused");
}

#[test]
fn a_job_that_was_complete_may_be_removed() {
    let job = |conditions: Value| {
        json!({
            "metadata": { "namespace": "shop", "name": "migrate" },
            "spec": { "selector": { "matchLabels": { "app": "migrate" } } },
            "status": { "conditions": conditions },
        })
    };
    let kind = Kind::namespaced("batch", "v1", "Job", "jobs");
    let mut watching = Watching::new(kind, "migrate", Wanted::Ready);
    watching.listed("jobs", &[job(json!([]))]);
    // A Job counts the failures of its pods itself.
    watching.listed("pods", &[pod("migrate-1", "migrate", "m:1", "CrashLoopBackOff")]);
    assert_eq!(watching.shows(1), "open until 120: 0 of 1 completions");
    let complete = parse(&job(json!([{ "type": "Complete", "status": "True" }])));
    watching.event("jobs", 2, Event::Apply(complete.clone()));
    watching.event("jobs", 3, Event::Delete(complete));
    assert_eq!(watching.shows(3), "ready");
}

#[test]
fn a_service_is_ready_with_an_endpoint_of_its_own() {
    let kind = Kind::namespaced("", "v1", "Service", "services");
    let mut watching = Watching::new(kind, "web", Wanted::Ready);
    assert_eq!(watching.tables(), ["pods in shop", "endpointslices in shop", "services in shop"]);
    let service = json!({
        "metadata": { "namespace": "shop", "name": "web" },
        "spec": { "selector": { "app": "web" } },
    });
    let slice = |name: &str, service: &str, ready: bool| {
        json!({
            "metadata": {
                "namespace": "shop", "name": name,
                "labels": { "kubernetes.io/service-name": service },
            },
            "endpoints": [{ "conditions": { "ready": ready } }],
        })
    };
    watching.listed("services", &[service]);
    watching.listed("pods", &[]);
    assert_eq!(watching.shows(0), "open until 120: its state is not known yet");
    watching.listed("endpointslices", &[slice("other-1", "other", true)]);
    assert_eq!(watching.shows(0), "open until 120: it has no endpoint");
    let broken = parse(&pod("web-1", "web", "web:2", "CrashLoopBackOff"));
    watching.event("pods", 1, Event::Apply(broken));
    assert_eq!(watching.shows(1), "never: it has no endpoint, Crash");
    watching.event("endpointslices", 2, Event::Apply(parse(&slice("web-1", "web", true))));
    assert_eq!(watching.shows(2), "ready");
}

#[test]
fn a_watch_that_breaks_is_pending_with_its_reason_and_recovers() {
    let mut watching = Watching::new(deployment(), "web", Wanted::Ready);
    watching.listed("deployments", &[web(1)]);
    watching.listed("pods", &[up("web-1", 0, true)]);
    let index = watching.index("deployments");
    let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
    let error = watcher::Error::WatchFailed(kube::Error::Service(Box::new(refused)));
    watching.board.observe(index, Err(error), watching.start);
    let expected = "the API server does not answer: connection refused";
    assert_eq!(watching.shows(1), format!("open until 120: {expected}"));
    assert!(watching.at(1).items[0].unreachable);
    watching.listed("deployments", &[web(1)]);
    assert_eq!(watching.shows(2), "ready");
}
