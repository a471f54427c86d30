//! Projects in other languages: `init` writes a pipeline file, and what it
//! says is really built and tested, with the tools of this machine.

use crate::support::{Project, Ran};
use crate::{made, root};

/// A project with a pipeline file that was made for it.
struct Initialised(Project);

impl Initialised {
    fn new(files: &[(&str, &str)]) -> Self {
        root();
        let project = Self(Project::new(files));
        let wrote = project.run(&["init"]);
        assert_eq!(wrote.code, 0, "{}", wrote.text());
        let checked = project.run(&["check"]);
        assert_eq!(checked.code, 0, "{}\n{}", checked.text(), project.yaml());
        project
    }

    fn yaml(&self) -> String {
        std::fs::read_to_string(self.0.dir().join("seatrial.yaml")).expect("it was written")
    }

    fn write(&self, path: &str, text: &str) {
        self.0.write(path, text);
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        let home = std::env::var("HOME").unwrap_or_default();
        let rustup = std::env::var("RUSTUP_HOME").unwrap_or_else(|_| format!("{home}/.rustup"));
        self.0.finish(self.0.command(arguments).env("RUSTUP_HOME", rustup))
    }
}

const CARGO: &str = "[package]\nname = \"greeter\"\nversion = \"0.1.0\"\nedition = \"2021\"\n";
const LOCK: &str = "version = 3\n\n[[package]]\nname = \"greeter\"\nversion = \"0.1.0\"\n";
const LIB: &str = "pub fn greet() -> &'static str { \"hello\" }\n\
                   #[test] fn greets() { assert_eq!(greet(), \"hello\"); }\n";
const LIB_CHANGED: &str = "pub fn greet() -> &'static str { \"hullo\" }\n\
                           #[test] fn greets() { assert_eq!(greet(), \"hello\"); }\n";
const MAIN: &str = "fn main() { println!(\"{}\", greeter::greet()) }\n#[test] fn runs() {}\n";
const API: &str = "#[test] fn is_polite() { assert!(greeter::greet().len() > 3); }\n\
                   #[test] #[cfg_attr(test, ignore)] fn is_slow() {}\n";

#[test]
fn rust_project() {
    let project = Initialised::new(&[
        ("Cargo.toml", CARGO),
        ("Cargo.lock", LOCK),
        ("src/lib.rs", LIB),
        ("src/main.rs", MAIN),
        ("tests/api.rs", API),
    ]);
    let green = project.run(&["run"]);
    assert_eq!(green.code, 0, "{}\n{}", green.text(), project.yaml());
    assert!(green.stderr.contains("passed: 4 tests"), "{}", green.stderr);

    // What changed is compiled, and an old content is not taken for what the
    // cache was last filled with.
    project.write("src/lib.rs", LIB_CHANGED);
    let red = project.run(&["run"]);
    assert_eq!(red.code, 1, "{}", red.text());
    assert!(red.stderr.contains("greets"), "{}", red.stderr);
    project.write("src/lib.rs", &format!("{LIB}// the same\n"));
    assert_eq!(project.run(&["run"]).code, 0);
    project.write("src/lib.rs", LIB_CHANGED);
    project.write("tests/api.rs", &format!("{API}// the same\n"));
    assert_eq!(project.run(&["run"]).code, 1);

    let built = project.run(&["build", "greeter", "--format", "json"]);
    assert_eq!(built.code, 0, "{}", built.text());
    assert_eq!(made(&built).len(), 1);
}

#[test]
fn python_project() {
    let project = Initialised::new(&[
        ("pyproject.toml", "[project]\nname = \"greeter\"\n[tool.pytest.ini_options]\n"),
        ("src/greeter.py", "def greet():\n    return 'hello'\n"),
        (
            "tests/test_greeter.py",
            "import greeter\n\ndef test_greets():\n    assert greeter.greet() == 'hello'\n\n\
             class TestMore:\n    def test_it(self):\n        pass\n",
        ),
    ]);
    let green = project.run(&["run"]);
    assert_eq!(green.code, 0, "{}\n{}", green.text(), project.yaml());
    assert!(green.stderr.contains("passed: 2 tests"), "{}", green.stderr);
    project.write("src/greeter.py", "def greet():\n    return 'hullo'\n");
    let red = project.run(&["run"]);
    assert_eq!(red.code, 1, "{}", red.text());
    assert!(red.stderr.contains("tests/test_greeter.py::test_greets"), "{}", red.stderr);
    project.write("tests/test_greeter.py", "def helper():\n    pass\n");
    let none = project.run(&["run"]);
    assert_ne!(none.code, 0, "{}", none.text());
    assert!(none.stderr.contains("run.nothing_selected"), "{}", none.stderr);
}

#[test]
fn node_project() {
    let project = Initialised::new(&[
        ("package.json", r#"{ "name": "greeter", "scripts": { "test": "node --test" } }"#),
        ("index.js", "exports.greet = () => 'hello';\n"),
        (
            "index.test.js",
            "const { test } = require('node:test');\nconst assert = require('node:assert');\n\
             const { greet } = require('./index.js');\n\
             test('greets', () => assert.equal(greet(), 'hello'));\n",
        ),
    ]);
    let green = project.run(&["run"]);
    assert_eq!(green.code, 0, "{}\n{}", green.text(), project.yaml());
    assert!(green.stderr.contains("passed: 1 test"), "{}", green.stderr);
    project.write("index.js", "exports.greet = () => 'hullo';\n");
    let red = project.run(&["run"]);
    assert_eq!(red.code, 1, "{}", red.text());
    assert!(red.stderr.contains("greets"), "{}", red.stderr);
}
