//! What makes an environment what it is has a key too: what is declared and
//! changes changes the keys of the stages that work with it, and of no other.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use insta::assert_snapshot;
use serde_json::Value;

use crate::events::events;
use crate::ids::without_ids;
use crate::shop::command;
use crate::support::Project;

const PIPELINE: &str = r#"seatrial: 1
builds:
  server: { inputs: ["src/**"], run: "grep -v '^#' src/server > $OUT/server", outputs: [server] }
  values: { inputs: [values], run: "cp values $OUT/" }
  tests: { inputs: [test.sh], run: "cp test.sh $OUT/" }
images:
  server:
    replaces: [registry.example/server]
    files: [{ build: server, path: server, to: /server }]
environments:
  default:
    clusters: { main: { kubernetes: "1.37", nodes: 1, resources: { cpu: 1 } } }
    install: [{ apply: deploy }]
  more:
    base: default
    install:
      - { run: "kubectl create configmap values --from-file $BUILD_VALUES/values", inputs: [chart], builds: [values], tools: [kubectl], timeout: 1m }
suites:
  e2e: { build: tests, adapter: exec, environments: [default], run: "sh test.sh", tools: [kubectl], test-timeout: 1m }
  more: { build: tests, adapter: exec, environments: [more], run: "sh test.sh", tools: [kubectl] }
  alone: { build: tests, adapter: exec, run: "grep kubectl test.sh" }
"#;

fn project() -> Project {
    Project::new(&[
        ("seatrial.yaml", PIPELINE),
        ("src/server", "# a comment\nserver\n"),
        ("values", "a\n"),
        ("test.sh", "kubectl get configmap settings\n"),
        ("chart", "a\n"),
        ("deploy/settings.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: settings }\n"),
        ("other", "not an input\n"),
    ])
}

/// The key of each stage, by its name, with everything built that it needs.
fn keys(project: &Project, cache: Option<&Path>) -> BTreeMap<String, String> {
    let command = |first: &[&str]| {
        let mut command = command(project, first);
        command.args(["--format", "json"]);
        command.envs(cache.map(|cache| ("SEATRIAL_CACHE_DIR", cache)));
        command
    };
    let built = project.finish(&mut command(&["build"]));
    assert_eq!(built.code, 0, "{}", built.text());
    let planned = project.finish(&mut command(&["plan"]));
    assert_eq!(planned.code, 0, "{}", planned.text());
    let nodes: Vec<Value> = serde_json::from_str(&planned.stdout).expect("JSON");
    let stages = nodes.iter().filter(|node| node["hit"].is_null());
    let keyed = stages.filter_map(|node| {
        Some((node["name"].as_str()?.to_owned(), node["key"].as_str()?.to_owned()))
    });
    keyed.collect()
}

const BOOT: [&str; 2] = ["default/boot", "more/boot"];
const INSTALL: [&str; 2] = ["default/install", "more/install"];
const SUITES: [&str; 3] = ["default/e2e", "more/more", "suite/alone"];

fn names(of: &[&[&'static str]]) -> BTreeSet<&'static str> {
    of.concat().into_iter().collect()
}

#[test]
fn each_declared_thing_changes_the_keys_of_what_works_with_it() {
    let project = project();
    let first = keys(&project, None);
    let all: BTreeSet<&str> = first.keys().map(String::as_str).collect();
    assert_eq!(all, names(&[&BOOT, &INSTALL, &SUITES]));
    let changed = |cache: Option<&Path>| {
        let now = keys(&project, cache);
        assert_eq!(now.keys().collect::<Vec<_>>(), first.keys().collect::<Vec<_>>());
        let changed = first.iter().filter(|(name, key)| now[*name] != **key);
        changed.map(|(name, _)| name.clone()).collect::<BTreeSet<_>>()
    };
    let is = |what: &str, cache: Option<&Path>, wanted: &[&[&'static str]]| {
        let wanted: BTreeSet<_> = names(wanted).into_iter().map(str::to_owned).collect();
        assert_eq!(changed(cache), wanted, "{what}");
    };
    let flip = |path: &str, from: &str, to: &str, wanted: &[&[&'static str]]| {
        let at = project.dir().join(path);
        let text = std::fs::read_to_string(&at).expect("a file");
        assert!(text.contains(from), "{path} has {from}");
        project.write(path, text.replace(from, to));
        is(&format!("{path}: {to}"), None, wanted);
        project.write(path, text);
        is(&format!("{path} as it was"), None, &[]);
    };
    let (in_env, more) = (["default/e2e", "more/more"], ["more/install", "more/more"]);

    // Files, by what works with them; the output decides, not the source.
    flip("src/server", "server", "other", &[&INSTALL, &in_env]);
    flip("src/server", "a comment", "another comment", &[]);
    flip("deploy/settings.yaml", "settings", "other", &[&INSTALL, &in_env]);
    flip("values", "a", "b", &[&more]);
    flip("chart", "a", "b", &[&more]);
    flip("test.sh", "get", "describe", &[&SUITES]);
    flip("other", "not", "still not", &[]);

    // What the pipeline says.
    let file = "seatrial.yaml";
    flip(file, "nodes: 1", "nodes: 2", &[&BOOT, &INSTALL, &in_env]);
    flip(file, "cpu: 1", "cpu: 2", &[&BOOT, &INSTALL, &in_env]);
    flip(
        file,
        "default:\n",
        "default:\n    egress: [a.example:443]\n",
        &[&BOOT, &INSTALL, &in_env],
    );
    flip(file, "example/server", "example/other", &[&INSTALL, &in_env]);
    flip(file, "to: /server", "to: /other", &[&INSTALL, &in_env]);
    flip(file, "configmap values", "configmap other", &[&more]);
    flip(file, "grep kubectl", "grep get", &[&["suite/alone"]]);
    flip(file, "test-timeout: 1m", "test-timeout: 2m, retries: 1, isolation: serial", &[]);
    flip(file, "timeout: 1m }", "timeout: 2m }", &[]);

    // Another patch of Kubernetes, in an installation that is the same otherwise.
    let cache = other_kubernetes(&project);
    is("another patch of Kubernetes", Some(&cache), &[&BOOT, &INSTALL, &in_env]);

    // Circumstances.
    project.write("new", "new");
    project.commit();
    is("the commit", None, &[]);
    std::fs::rename(project.dir(), project.beside("elsewhere")).expect("renamed");
    std::os::unix::fs::symlink(project.beside("elsewhere"), project.dir()).expect("a link");
    is("the directory", None, &[]);
}

#[test]
fn a_path_to_apply_is_what_it_names_and_has_to_be_there() {
    let manifest = "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: settings }\n";
    let project = Project::new(&[
        ("v2/deploy/settings.yaml", manifest),
        ("k8s[ab]/settings.yaml", manifest),
        ("k8sa/settings.yaml", "not it"),
    ]);
    std::os::unix::fs::symlink("v2", project.dir().join("current")).expect("a link");
    let plan = |path: &str| {
        let yaml = format!(
            "seatrial: 1\nenvironments: {{ default: {{ install: [{{ apply: '{path}' }}] }} }}\n\
             suites: {{ e2e: {{ adapter: exec, run: 'true', environments: [default] }} }}\n"
        );
        project.write("seatrial.yaml", yaml);
        project.commit();
        project.finish(&mut command(&project, &["plan"]))
    };
    for path in ["current/deploy", "v2/deploy/settings.yaml", "k8s[ab]", "current", "."] {
        let planned = plan(path);
        assert_eq!(planned.code, 0, "{path}: {}", planned.text());
    }
    // Signs of a pattern in its name mean themselves.
    plan("k8s[ab]");
    let install = || {
        let planned = project.finish(&mut command(&project, &["plan", "--format", "json"]));
        let nodes: Vec<Value> = serde_json::from_str(&planned.stdout).expect("JSON");
        let install = nodes.iter().find(|node| node["name"] == "default/install");
        install.expect("it is planned")["key"].to_string()
    };
    let before = install();
    project.write("k8sa/settings.yaml", "not it either");
    assert_eq!(install(), before);
    project.write("k8s[ab]/settings.yaml", format!("{manifest}data: {{}}\n"));
    assert_ne!(install(), before);
    assert_snapshot!(plan("v2/deploi").text(), @r"
    error[run.nothing_to_apply]: nothing of the project is at `v2/deploi`, which an environment applies
    hint: files that Git ignores are no part of the project; what a build makes is named by `{ build: NAME, path: PATH }`
    exit code 2
    ");
}

/// The user's components, said to be of another version of Kubernetes.
fn other_kubernetes(project: &Project) -> std::path::PathBuf {
    let probe = command(project, &[]);
    let cache = probe.get_envs().find(|(name, _)| *name == "SEATRIAL_CACHE_DIR");
    let real = Path::new(cache.and_then(|(_, value)| value).expect("a cache")).join("components");
    let cache = project.beside("cache");
    for lock in std::fs::read_dir(real.join("current")).expect("components").flatten() {
        let set = lock.path().canonicalize().expect("a set");
        let copy = cache.join("components/current").join(lock.file_name());
        std::fs::create_dir_all(&copy).expect("a directory");
        for dir in ["bin", "cni"] {
            std::os::unix::fs::symlink(set.join(dir), copy.join(dir)).expect("a link");
        }
        let text = std::fs::read_to_string(set.join("components.json")).expect("a manifest");
        let mut components: Vec<Value> = serde_json::from_str(&text).expect("JSON");
        for component in components.iter_mut().filter(|one| one["name"] == "kubernetes") {
            component["version"] = "1.37.99".into();
        }
        std::fs::write(copy.join("components.json"), Value::from(components).to_string())
            .expect("written");
    }
    cache
}

#[test]
fn a_run_tells_the_keys_that_the_plan_foretold_and_why_names_what_changed() {
    let project = project();
    let planned = keys(&project, None);
    let ran = project.finish(&mut command(&project, &["run", "--format", "json"]));
    assert_eq!(ran.code, 0, "{}", ran.text());
    let nodes = events(&ran, "planned")[0]["nodes"].as_array().cloned().expect("nodes");
    let told = events(&ran, "node-keyed").into_iter().filter_map(|event| {
        let node = &nodes[usize::try_from(event["node"].as_u64()?).ok()?];
        Some((node["name"].as_str()?.to_owned(), event["key"].as_str()?.to_owned()))
    });
    let told: BTreeMap<_, _> = told.filter(|(name, _)| planned.contains_key(name)).collect();
    assert_eq!(told, planned);

    let why = |node: &str, cache: Option<&Path>| {
        let mut command = command(&project, &["plan", "--why", node]);
        command.envs(cache.map(|cache| ("SEATRIAL_CACHE_DIR", cache)));
        let text = without_ids(&project.finish(&mut command).stdout);
        // Another one each time the lock changes.
        let (version, _) = text.split_once(" -> 1.37.99").unwrap_or_default();
        let version = version.rsplit(' ').next().filter(|version| !version.is_empty());
        version.map_or(text.clone(), |version| text.replace(version, "VERSION"))
    };
    assert_snapshot!(why("default/install", None), @r"
    default/install: done in every run, since it works with something alive
    nothing changed since run ID: its key is ID
    ");
    project
        .write("deploy/more.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: more }\n");
    assert_snapshot!(why("default/install", None), @r"
    default/install: done in every run, since it works with something alive
    since run ID its key changed from ID to ID:
      step 1 manifests
        + deploy/more.yaml
    ");
    assert_snapshot!(why("default/e2e", None), @r"
    default/e2e: done in every run, since it works with something alive
    since run ID its key changed from ID to ID:
      environment is another
        seatrial plan --why default/install
    ");
    let cache = other_kubernetes(&project);
    assert_snapshot!(why("default/boot", Some(&cache)), @r"
    default/boot: done in every run, since it works with something alive
    since run ID its key changed from ID to ID:
      components is another
      component kubernetes: VERSION -> 1.37.99
    ");
    assert_snapshot!(
        why("default/drop", None),
        @"default/drop: done in every run, since it works with something alive"
    );
}
