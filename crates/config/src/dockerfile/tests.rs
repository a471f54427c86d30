//! What Dockerfiles come to, and what is said of those that are refused.

use proptest::prelude::*;

use super::*;
use crate::source::Source;
use crate::{Style, render};

const DIGEST: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";

fn named(builds: &[&str]) -> Named {
    let builds = builds.iter().map(|name| name.parse().expect("a name")).collect();
    let args = [("VERSION".to_owned(), "2".to_owned())].into();
    Named { path: "Dockerfile".to_owned(), args, builds }
}

fn read_with(text: &str, builds: &[&str]) -> (Option<Content>, String) {
    let mut problems = Problems::new(Source::new("Dockerfile", text));
    let images =
        BTreeMap::from([("registry.example/settled:1".to_owned(), DIGEST.parse().unwrap())]);
    let known = Known { kubernetes: &[], tools: &[], images: Some(&images) };
    let content = read(text, &named(builds), &known, &["*.md".to_owned()], &mut problems);
    (content, render(&problems.finish(), Style::Narrow))
}

/// What it comes to, a line for each file, and what is said of it.
fn shown(text: &str, builds: &[&str]) -> String {
    let (content, said) = read_with(text, builds);
    let Some(Content { base, files, config, tags }) = content else { return said };
    let mut lines = vec![format!("{base:?}").replace(&DIGEST[7..], "0")];
    lines.extend(tags.into_iter().map(|tag| format!("by tag: {tag}")));
    for file in files {
        let ImageFile { from, patterns, to, mode, owner } = file;
        let build = from.build.map(|build| format!("{build}:")).unwrap_or_default();
        let mode = mode.map(|mode| format!(" {mode:o}")).unwrap_or_default();
        let owner = owner.map(|(user, group)| format!(" {user}:{group}")).unwrap_or_default();
        lines.push(format!("{build}{} {patterns:?} -> {to}{mode}{owner}", from.path));
    }
    if config != ImageConfig::default() {
        lines.push(serde_json::to_string(&config).expect("JSON"));
    }
    lines.push(said);
    lines.join("\n")
}

#[test]
fn a_tag_stands_for_the_digest_in_the_lock_file() {
    insta::assert_snapshot!(shown("FROM registry.example/settled:1 AS web\nFROM web\n", &[]), @r#"
    Registry { name: "registry.example/settled", digest: sha256:0 }
    by tag: registry.example/settled:1
    "#);
    insta::assert_snapshot!(shown("FROM registry.example/other:1\n", &[]), @r#"
    Dockerfile:1:6: error[image.not_pinned]: the base `registry.example/other:1` is not in seatrial.lock
      hint: `seatrial update` asks its registry for the digest and writes it there
    "#);
    // What no image comes from is of no interest.
    insta::assert_snapshot!(shown("FROM registry.example/other:1 AS x\nFROM scratch\n", &[]), @"Scratch");
}

#[test]
fn everything_that_is_read() {
    let text = format!(
        r#"
ARG VERSION=1
ARG BASE=registry.example/base@{DIGEST}
FROM $BASE
ARG VERSION
WORKDIR /srv
WORKDIR app
ENV MODE=fast GREETING="hello world"
ENV OLD style  value
LABEL version="$VERSION" \
      # not this one
      kind=${{MODE}}
COPY --chown=65532 --chmod=0755 --link start.sh ./
ADD config/*.conf LICENSE /etc/app/
COPY ["with space", "/opt/x"]
COPY . .
EXPOSE 8080 53/udp
VOLUME ["/data"]
STOPSIGNAL SIGQUIT
USER 65532:65532
SHELL ["/bin/sh", "-ec"]
ENTRYPOINT ["/srv/app/start.sh", "$VERSION"]
CMD exec serve $HOME
"#
    );
    insta::assert_snapshot!(shown(&text, &[]), @r#"
    Registry { name: "registry.example/base", digest: sha256:0 }
    start.sh ["start.sh", "!*.md"] -> /srv/app/ 755 65532:65532
    config ["config/*.conf", "!*.md"] -> /etc/app/
    LICENSE ["LICENSE", "!*.md"] -> /etc/app/
    with space ["with space", "!*.md"] -> /opt/x
     ["!*.md"] -> /srv/app/
    {"entrypoint":["/srv/app/start.sh","$VERSION"],"cmd":["/bin/sh","-ec","exec serve $HOME"],"env":{"GREETING":"hello world","MODE":"fast","OLD":"style  value"},"user":"65532:65532","workdir":"/srv/app","ports":["8080/tcp","53/udp"],"labels":{"kind":"fast","version":"2"},"volumes":["/data"],"stop_signal":"SIGQUIT"}
    "#);
}

#[test]
fn stages_and_builds() {
    let text = format!(
        "FROM golang:1.26 AS Builder\nRUN go build -o /out/server ./cmd/server\n\
        FROM unknown AS unused\nRUN whatever\n\
        FROM scratch AS files\nCOPY etc /etc\nCOPY one /bin/one\n\
        FROM registry.example/base@{DIGEST} AS run\nENV A=1\n\
        FROM run\nCOPY --from=builder /out/server /server\nCOPY --from=files /etc/x.conf /x.conf\n\
        COPY --from=files / /all/\nCOPY --from=2 /bin/one /one\n"
    );
    insta::assert_snapshot!(shown(&text, &["builder"]), @r#"
    Registry { name: "registry.example/base", digest: sha256:0 }
    builder:out/server [] -> /server
    etc/x.conf ["etc/x.conf", "!*.md"] -> /x.conf
    etc ["etc", "!*.md"] -> /all/etc
    one ["one", "!*.md"] -> /all/bin/one
    one ["one", "!*.md"] -> /one
    {"entrypoint":[],"cmd":[],"env":{"A":"1"},"user":null,"workdir":null,"ports":[],"labels":{},"volumes":[],"stop_signal":null}
    "#);
}

#[test]
fn what_would_be_another_image_than_that_of_docker_is_refused() {
    let (_, said) = read_with(
        "FROM scratch\nWORKDIR /app/bin\nWORKDIR /srv\nCOPY server /app\nCOPY server /srv\n\
         COPY app* /srv/\nARG TARGETARCH\nARG TARGETOS=linux\n",
        &[],
    );
    insta::assert_snapshot!(said, @r"
    Dockerfile:4:13: error[config.bad_path]: this is a directory of the image
      hint: write `/app/` when the file is to be in it
    Dockerfile:5:13: error[config.bad_path]: this is a directory of the image
      hint: write `/srv/` when the file is to be in it
    Dockerfile:6:6: error[config.not_available_yet]: `app*` may match directories, whose content Docker would mix
      hint: name the directory, or files by a pattern such as `dir/*.conf`
    Dockerfile:7:5: error[config.not_available_yet]: `TARGETARCH` is not set here
      hint: say what it is in `args` of the image: `TARGETARCH: ...`
    ");
}

#[test]
fn what_is_refused_and_what_to_do_instead() {
    let text = format!(
        r#"FROM registry.example/base@{DIGEST} AS base
FROM base
RUN apt-get update
ONBUILD COPY a /a
COPY ../../etc/passwd /x
COPY a b /c
COPY a /usr/local/bin
COPY a relative
COPY */x /x/
COPY src/* /x/
COPY --from=bsae a /a
COPY --from=base /bin/sh /sh
COPY --chown=app:app a /a
COPY --chmod=u+x a /a
COPY --parents a /a
COPY <<EOF /x
EOF
ADD https://example.org/x /y
ADD x.tar.gz /x/
ENV PATH=$PATH:/opt/bin
ENV OPEN="x
LABEL x
CMD ["a", 'b']
CMD []
EXPOSE 70000
WORKDIR
ENTRIPOINT ["/a"]
HEALTHCHECK CMD true
"#
    );
    insta::assert_snapshot!(shown(&text, &["server"]), @r#"
    Registry { name: "registry.example/base", digest: sha256:0 }
    Dockerfile:3:1: error[config.not_available_yet]: `RUN` is not carried out: images are put together here, commands run in builds
      hint: make it a build of seatrial.yaml, name that in `builds` of the image, and take its output: `COPY --from=NAME`
    Dockerfile:4:1: error[config.not_available_yet]: `ONBUILD` is not carried out
      hint: leave it out: it is for images that are built on this one
    Dockerfile:5:6: error[config.bad_path]: `../../etc/passwd` is no path here: `..` leads out of the tree
    Dockerfile:6:10: error[config.bad_path]: several files cannot become one
      hint: end it with `/`: it is a directory
    Dockerfile:7:8: error[config.bad_path]: whether this is a directory of the base is not known here
      hint: write `/usr/local/bin/` when it is a directory
    Dockerfile:8:8: error[config.bad_path]: the working directory of the base is not known here
      hint: begin it with `/`, or write `WORKDIR` before
    Dockerfile:9:6: error[config.not_available_yet]: `*/x` may match directories, whose content Docker would mix
      hint: name the directory, or files by a pattern such as `dir/*.conf`
    Dockerfile:10:6: error[config.not_available_yet]: `src/*` may match directories, whose content Docker would mix
      hint: name the directory, or files by a pattern such as `dir/*.conf`
    Dockerfile:11:6: error[config.unknown_ref]: there is no stage or build `bsae`
      hint: did you mean `base`?
      hint: there are `base` and `server`; a build is named in `builds` of the image
    Dockerfile:12:18: error[config.unknown_ref]: the stage `base` does not copy `/bin/sh`
      hint: files of its base image cannot be taken out here; make them in a build
    Dockerfile:13:6: error[config.bad_value]: `app:app` are no numbers of a user and group
      hint: names are known only inside an image: write `--chown=65532:65532`
    Dockerfile:14:6: error[config.bad_value]: `u+x` are no permissions
      hint: octal bits such as `--chmod=0755`
    Dockerfile:15:6: error[config.not_available_yet]: the option `--parents` is not read
    Dockerfile:16:1: error[config.not_available_yet]: a here-document is not read
      hint: write the file into the project, or make it in a build
    Dockerfile:17:1: error[config.unknown_field]: there is no instruction `EOF`
    Dockerfile:18:5: error[config.not_available_yet]: `ADD` fetches nothing here
      hint: fetch it in a build of seatrial.yaml, and `COPY --from` that
    Dockerfile:19:5: error[config.not_available_yet]: `ADD` unpacks nothing here
      hint: unpack it in a build of seatrial.yaml, or `COPY` it as it is
    Dockerfile:20:10: error[config.bad_value]: `$PATH` is not set in this Dockerfile, and what its base sets is not known here
    Dockerfile:21:5: error[config.bad_value]: a quote is not closed
    Dockerfile:22:1: error[config.bad_value]: `x` has no value
      hint: write `NAME=value`
    Dockerfile:23:5: error[config.wrong_type]: this is no list of texts in JSON
      hint: quote with `"`
    Dockerfile:24:1: error[config.not_available_yet]: an empty list is not read
      hint: leave it out
    Dockerfile:25:8: error[config.bad_value]: `70000` is no port
      hint: a number from 1 to 65535, and `/tcp`, `/udp` or `/sctp`
    Dockerfile:26:1: error[config.missing_field]: there is nothing behind `WORKDIR`
    Dockerfile:27:1: error[config.unknown_field]: there is no instruction `ENTRIPOINT`
    Dockerfile:28:1: warning[config.unused]: `HEALTHCHECK` has no effect in Kubernetes
    "#);
    insta::assert_snapshot!(shown("COPY a /a\n", &[]), @r"Dockerfile:1:1: error[config.bad_value]: a Dockerfile begins with `FROM`");
    insta::assert_snapshot!(shown("# nothing\n", &[]), @r"Dockerfile:1:1: error[config.missing_field]: there is no `FROM`");
    insta::assert_snapshot!(shown("FROM alpine:3.22\n", &[]), @r"
    Dockerfile:1:6: error[image.not_pinned]: the base `alpine:3.22` is not in seatrial.lock
      hint: `seatrial update` asks its registry for the digest and writes it there
    ");
    // A stage that needs itself or a later one is none that there is.
    insta::assert_snapshot!(shown("FROM scratch AS a\nCOPY --from=a x /x\nCOPY --from=b x /x\n", &[]), @r"
    Scratch
    Dockerfile:2:6: error[config.unknown_ref]: there is no stage or build `a`
      hint: name a build in `builds` of the image
    Dockerfile:3:6: error[config.unknown_ref]: there is no stage or build `b`
      hint: name a build in `builds` of the image
    ");
}

#[test]
fn hostile_files_end() {
    let doubling = (0..64).map(|n| format!("ENV A{n}=$A{0}$A{0}\n", n - 1)).collect::<String>();
    let text = format!(
        "FROM scratch\nENV A-1=x\nENV A=xxxxxxxxxxxxxxxx\n{}",
        doubling.replace("A-1", "A")
    );
    let (_, said) = read_with(&text, &[]);
    assert!(said.contains("it comes to more than 64 KiB"), "{said}");
    let copies = "COPY --from=s0 / /x/\nCOPY --from=s0 / /y/\n";
    let stages = (1..30)
        .map(|n| format!("FROM scratch AS s{n}\n{}", copies.replace("s0", &format!("s{}", n - 1))));
    let text = format!("FROM scratch AS s0\nCOPY a /a\n{}", stages.collect::<String>());
    assert!(read_with(&text, &[]).1.contains("more than 2000 sources of files"));
    let (content, said) = read_with(&"FROM scratch\n".repeat(5000), &[]);
    assert!(content.is_none() && said.contains("5000 instructions"), "{said}");
}

#[test]
fn ignored_files() {
    let text = "# no\n\n.git\n/docs/\n**/*.md\nx/**\n!keep\n../y\n";
    let mut problems = Problems::new(Source::new(".dockerignore", text));
    let patterns = read_ignored(text, &mut problems);
    let expected = [".git", ".git/**", "docs", "docs/**", "**/*.md", "**/*.md/**", "x/**", "x/**"];
    assert_eq!(patterns, expected);
    let said = render(&problems.finish(), Style::Narrow);
    assert!(said.contains(".dockerignore:7:1: error") && said.contains(":8:1: error"), "{said}");
}

proptest! {
    #[test]
    fn any_file_has_an_answer(lines in prop::collection::vec(
        ("(FROM|COPY|ADD|ENV|ARG|LABEL|CMD|WORKDIR|RUN|#|)", "[ a-z/.$\\\\{}\"'=\\[\\]*<:-]{0,24}"), 0..24)
    ) {
        let text = lines.iter().map(|(word, rest)| format!("{word} {rest}\n")).collect::<String>();
        let (content, said) = read_with(&format!("FROM scratch\n{text}"), &["a"]);
        prop_assert!(content.is_some() || !said.is_empty());
    }

    #[test]
    fn any_text_has_an_answer(text in "(?s).{0,200}") {
        let _ = read_with(&text, &[]);
    }
}
