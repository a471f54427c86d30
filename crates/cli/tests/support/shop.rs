//! A product for clusters: one static program, its image, and manifests that
//! are right or wrong. Needs root, the components and a C compiler.

use std::path::PathBuf;
use std::process::Command;

use crate::support::Project;

/// Serves, does something once, or crashes: what its first argument says.
const PROGRAM: &str = r#"
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv) {
  char *what = argc > 1 ? argv[1] : "serve", request[4096];
  setvbuf(stdout, NULL, _IONBF, 0);
  if (!strcmp(what, "once")) { puts("migrated"); return 0; }
  if (!strcmp(what, "fade")) { puts("starting"); sleep(1); puts("no licence"); return 1; }
  if (!strcmp(what, "second") && access("/data/visits", F_OK)) { fopen("/data/visits", "w"); return 3; }
  if (!strcmp(what, "crash")) { puts("starting"); puts("cannot reach the database"); return 1; }
  FILE *visits = fopen("/data/visits", "a");
  if (visits) { fputs("started\n", visits); fclose(visits); }
  struct sockaddr_in any = { .sin_family = AF_INET, .sin_port = htons(8080) };
  int server = socket(AF_INET, SOCK_STREAM, 0), client;
  if (bind(server, (struct sockaddr *)&any, sizeof any) || listen(server, 64)) return 2;
  puts("serving");
  while ((client = accept(server, NULL, NULL)) >= 0) {
    if (read(client, request, sizeof request) > 0)
      dprintf(client, "HTTP/1.0 %s\r\n\r\n%s\n", strcmp(what, "sick") ? "200 OK" : "503 Sick",
              getenv("GREETING") ? getenv("GREETING") : "no greeting");
    /* What is not read yet would make this end a reset. */
    shutdown(client, SHUT_WR);
    while (read(client, request, sizeof request) > 0);
    close(client);
  }
}
"#;

const PIPELINE: &str = r#"seatrial: 1
builds:
  shop: { tools: [cc], inputs: [shop.c], run: cc -static -O1 -o $OUT/shop shop.c, outputs: [shop] }
  slow: { run: sleep 600 }
  tests: { tools: [go], inputs: [go.mod, "*.go"], env: { CGO_ENABLED: "0" }, run: go test -c -o $OUT/alone.test . }
images:
  shop:
    replaces: [registry.example/shop]
    files: [{ build: shop, path: shop, to: /shop, mode: "0755" }]
    config: { entrypoint: [/shop] }
  migrate: # its layer leaves directories to its base
    replaces: [registry.example/migrate]
    base: { image: shop }
    files: [{ build: shop, path: shop, to: /opt/bin/migrate, mode: "0755" }]
    config: { entrypoint: [/opt/bin/migrate] }
environments:
  default: { install: [{ apply: deploy }] }
  bare: {}
  unknown-kind: { install: [{ apply: bad/kind.yaml }], timeout: 6s }
  no-crd: { install: [{ apply: bad/resource.yaml }], timeout: 6s }
  conflict: { install: [{ apply: bad/conflict.yaml }], timeout: 6s }
  invalid: { install: [{ apply: bad/invalid.yaml }] }
  no-image: { install: [{ apply: bad/image.yaml }] }
  crash: { install: [{ apply: bad/crash.yaml }] }
  fade: { install: [{ apply: bad/fade.yaml }] }
  second: { install: [{ apply: bad/second.yaml }] }
  sick:
    install: [{ apply: bad/sick.yaml }]
    ready: [{ for: deployment/sick, namespace: default, condition: Available, within: 6s }]
  step: { install: [{ run: "kubectl get nothing", tools: [kubectl] }] }
suites:
  e2e:
    adapter: exec
    tools: [kubectl]
    environments: [default]
    run: |
      test $(id -u) != 0
      kubectl -n shop rollout status deployment/shop --timeout=5s
      exec 3<>/dev/tcp/shop.shop.svc.cluster.local/80
      printf 'GET / HTTP/1.0\r\n\r\n' >&3
      grep 'hello from a ConfigMap' <&3
      test "$(kubectl -n shop get secret key -o 'jsonpath={.data.key}' | base64 -d)" = open
      kubectl -n shop logs job/migrate | grep migrated
      kubectl -n shop get pvc data-db-0 -o 'jsonpath={.status.phase}' | grep Bound
  waits: { adapter: exec, tools: [kubectl], environments: [default], run: "kubectl wait --for=delete node --all --timeout=10m || test $? = 143" }
  alone: { adapter: exec, run: "true" }
  flaky:
    adapter: exec
    tools: [kubectl]
    environments: [bare]
    retries: 1
    run: |
      kubectl create configmap been-here
      test "$SEATRIAL_TRY" = 2
  fresh:
    build: tests
    adapter: go
    tools: [kubectl]
    environments: [bare]
    isolation: fresh
    overrides:
      - { filter: test(Together), isolation: serial }
      - { filter: test(=TestTwo), retries: 1 }
  slow: { build: slow, adapter: exec, environments: [default], run: "true" }
  red: { adapter: exec, environments: [default], run: echo expected 2 replicas found 1; exit 1 }
  unknown-kind: { adapter: exec, environments: [unknown-kind], run: "true" }
  no-crd: { adapter: exec, environments: [no-crd], run: "true" }
  conflict: { adapter: exec, environments: [conflict], run: "true" }
  invalid: { adapter: exec, environments: [invalid], run: "true" }
  no-image: { adapter: exec, environments: [no-image], run: "true" }
  crash: { adapter: exec, environments: [crash], run: "true" }
  fade: { adapter: exec, environments: [fade], run: "true" }
  second: { adapter: exec, environments: [second], run: "true" }
  sick: { adapter: exec, environments: [sick], run: "true" }
  step: { adapter: exec, environments: [step], run: "true" }
"#;

/// Tests that leave something in their cluster and must not find it there.
const TESTS: &str = r#"package alone

import (
	"os"
	"os/exec"
	"testing"
)

func kubectl(t *testing.T, args ...string) {
	if said, err := exec.Command("kubectl", args...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
}

func TestOne(t *testing.T) { kubectl(t, "create", "configmap", "been-here") }

func TestTwo(t *testing.T) {
	kubectl(t, "create", "configmap", "been-here")
	if os.Getenv("SEATRIAL_TRY") == "1" {
		t.Fatal("not yet")
	}
}

func TestTogetherMakes(t *testing.T) { kubectl(t, "create", "configmap", "been-here") }

func TestTogetherSees(t *testing.T) { kubectl(t, "get", "configmap", "been-here") }
"#;

const GOOD: &str = r#"apiVersion: v1
kind: ConfigMap
metadata: { name: greeting, namespace: shop }
data: { greeting: hello from a ConfigMap }
---
apiVersion: v1
kind: Secret
metadata: { name: key, namespace: shop }
stringData: { key: open }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: shop, namespace: shop }
spec:
  replicas: 2
  selector: { matchLabels: { app: shop } }
  template:
    metadata: { labels: { app: shop } }
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: shop
        image: registry.example/shop:1.2.3
        env: [{ name: GREETING, valueFrom: { configMapKeyRef: { name: greeting, key: greeting } } }]
        readinessProbe: { httpGet: { path: /, port: 8080 }, periodSeconds: 1 }
---
apiVersion: v1
kind: Service
metadata: { name: shop, namespace: shop }
spec: { selector: { app: shop }, ports: [{ port: 80, targetPort: 8080 }] }
---
apiVersion: batch/v1
kind: Job
metadata: { name: migrate, namespace: shop }
spec:
  template:
    spec:
      restartPolicy: Never
      containers: [{ name: migrate, image: 'registry.example/migrate:1.2.3', args: [once] }]
---
apiVersion: apps/v1
kind: StatefulSet
metadata: { name: db, namespace: shop }
spec:
  serviceName: db
  selector: { matchLabels: { app: db } }
  template:
    metadata: { labels: { app: db } }
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: db
        image: registry.example/shop:1.2.3
        volumeMounts: [{ name: data, mountPath: /data }]
  volumeClaimTemplates:
  - metadata: { name: data }
    spec: { accessModes: [ReadWriteOnce], resources: { requests: { storage: 1Mi } } }
---
apiVersion: v1
kind: Namespace
metadata: { name: shop }
"#;

/// A Deployment of one container.
fn deployment(name: &str, container: &str) -> String {
    format!(
        "apiVersion: apps/v1\n\
         kind: Deployment\n\
         metadata: {{ name: {name} }}\n\
         spec:\n\
         \x20 selector: {{ matchLabels: {{ app: {name} }} }}\n\
         \x20 template:\n\
         \x20   metadata: {{ labels: {{ app: {name} }} }}\n\
         \x20   spec:\n\
         \x20     terminationGracePeriodSeconds: 0\n\
         \x20     containers: [{{ name: c, {container} }}]\n"
    )
}

/// A CustomResourceDefinition of orders.
fn definition(plural: &str) -> String {
    format!(
        "apiVersion: apiextensions.k8s.io/v1\n\
         kind: CustomResourceDefinition\n\
         metadata: {{ name: {plural}.shop.example }}\n\
         spec:\n\
         \x20 group: shop.example\n\
         \x20 scope: Namespaced\n\
         \x20 names: {{ kind: Order, plural: {plural} }}\n\
         \x20 versions: [{{ name: v1, served: true, storage: true, schema: {{ openAPIV3Schema: {{ type: object }} }} }}]\n"
    )
}

/// The project.
pub(crate) fn shop() -> Project {
    assert!(nix::unistd::geteuid().is_root(), "these tests need root: they boot clusters");
    let probe = "readinessProbe: { httpGet: { path: /, port: 8080 }, periodSeconds: 1 }";
    let image = "image: 'registry.example/shop:1'";
    Project::new(&[
        ("seatrial.yaml", PIPELINE),
        ("shop.c", PROGRAM),
        ("go.mod", "module shop.example/alone\n\ngo 1.24\n"),
        ("alone_test.go", TESTS),
        ("deploy/shop.yaml", GOOD),
        ("bad/kind.yaml", "apiVersion: apps/v1\nkind: Deploymnt\nmetadata: { name: shop }\n"),
        (
            "bad/resource.yaml",
            "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: fine }\n---\napiVersion: shop.example/v1\nkind: Order\nmetadata: { name: first }\n",
        ),
        ("bad/conflict.yaml", &[definition("orders"), definition("purchases")].join("---\n")),
        ("bad/invalid.yaml", &deployment("Shop", image)),
        ("bad/image.yaml", &deployment("web", "image: 'registry.example/shopp:2'")),
        ("bad/crash.yaml", &deployment("crash", &format!("{image}, args: [crash], {probe}"))),
        ("bad/fade.yaml", &deployment("fade", &format!("{image}, args: [fade]"))),
        (
            "bad/second.yaml",
            &format!(
                "{}      volumes: [{{ name: data, emptyDir: {{}} }}]\n",
                deployment(
                    "second",
                    &format!(
                        "{image}, args: [second], volumeMounts: [{{ name: data, mountPath: /data }}]"
                    )
                )
            ),
        ),
        ("bad/sick.yaml", &deployment("sick", &format!("{image}, args: [sick], {probe}"))),
    ])
}

/// The command on it, with the components that are installed for the user.
pub(crate) fn command(project: &Project, arguments: &[&str]) -> Command {
    let cache = std::env::var_os("SEATRIAL_CACHE_DIR").map(PathBuf::from);
    let cache = cache.or_else(|| {
        let xdg = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
        xdg.or(home).map(|dir| dir.join("seatrial"))
    });
    let cache = cache.expect("HOME");
    assert!(
        cache.join("components/current").is_dir(),
        "these tests need the components: `seatrial components install`"
    );
    let mut command = project.command(arguments);
    command.env("SEATRIAL_CACHE_DIR", cache);
    command
}
