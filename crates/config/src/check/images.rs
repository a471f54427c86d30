//! Images and what they start from.

use std::collections::BTreeMap;

use seatrial_core::digest::Digest;
use seatrial_core::name::Name;
use seatrial_core::pipeline::{Base, FileSource, Image, ImageConfig, ImageFile};

use super::{Checker, Kind, items, texts, variables};
use crate::diagnostic::{Code, Diagnostic, quote};
use crate::dockerfile::Named;
use crate::file::{self, BaseValue, ConfigFile, FilesFile};
use crate::read::{Entry, Given, List, Spanned};
use crate::source::Span;
use crate::value::{Relative, Repository};

/// That a base is named by a tag that nothing says the digest of.
pub(crate) fn not_locked(written: &str) -> Diagnostic {
    let message = format!("the base {} is not in seatrial.lock", quote(written));
    let hint = "`seatrial update` asks its registry for the digest and writes it there";
    Diagnostic::new(Code::NotPinned, message).hint(hint)
}

impl Checker<'_, '_> {
    pub(super) fn images(
        &mut self,
        entries: Vec<Entry<Name, file::ImageFile>>,
    ) -> (BTreeMap<Name, Image>, BTreeMap<Name, Named>) {
        let base =
            |entry: &Entry<Name, file::ImageFile>| match &entry.value.as_ref()?.base.get()?.value {
                BaseValue::Image(base) => Some((entry.name.clone(), base.clone())),
                _ => None,
            };
        let bases = entries.iter().filter_map(base).collect();
        self.refuse_cycles(Kind::Image, &bases);
        let mut replaced = BTreeMap::new();
        let mut named = BTreeMap::new();
        let both = self.each("images", entries, |this, mut image| {
            let dockerfile = this.dockerfile(&mut image);
            (this.image(image, &mut replaced), dockerfile)
        });
        let images = both.into_iter().map(|(name, (image, dockerfile))| {
            named.extend(dockerfile.map(|dockerfile| (name.clone(), dockerfile)));
            (name, image)
        });
        (images.collect(), named)
    }

    /// What an image says of a Dockerfile, and that it says nothing else then.
    fn dockerfile(&mut self, image: &mut file::ImageFile) -> Option<Named> {
        let dockerfile = std::mem::replace(&mut image.dockerfile, Given::Absent);
        let args = std::mem::replace(&mut image.args, Given::Absent);
        let builds = std::mem::replace(&mut image.builds, Given::Absent);
        let Some(Relative(path)) = dockerfile.value() else {
            let text = "only a Dockerfile has them: `dockerfile: Dockerfile`";
            self.unwanted("args", &args, text);
            self.unwanted("builds", &builds, text);
            return None;
        };
        let text = "the Dockerfile says it";
        self.unwanted("base", &image.base, text);
        self.unwanted("files", &image.files, text);
        self.unwanted("config", &image.config, text);
        let builds = self.refer_all(Kind::Build, builds);
        Some(Named { path, args: variables(args, |name| name.0), builds })
    }

    fn image(&mut self, image: file::ImageFile, replaced: &mut BTreeMap<String, String>) -> Image {
        let file::ImageFile { replaces, base, files, config, .. } = image;
        let base = match base.spanned().map(|base| (base.value, base.span)) {
            None | Some((BaseValue::Scratch, _)) => Base::Scratch,
            Some((BaseValue::Registry { name, digest }, _)) => Base::Registry { name, digest },
            Some((BaseValue::Tag { name, tag, digest }, span)) => {
                self.settled(span, name, &tag, digest)
            }
            Some((BaseValue::Layout(path), _)) => Base::Layout(path.0),
            Some((BaseValue::Image(name), _)) => Base::Image(self.refer(Kind::Image, name)),
        };
        Image {
            replaces: self.replaces(items(replaces), replaced),
            base,
            files: items(files).into_iter().map(|file| self.image_file(file.value)).collect(),
            config: config.value().map_or_else(ImageConfig::default, image_config),
        }
    }

    /// A base that is named by tag, as the lock file has it.
    fn settled(&mut self, span: Span, name: String, tag: &str, digest: Option<Digest>) -> Base {
        let written = format!("{name}:{tag}");
        self.tags.insert(written.clone());
        match digest {
            Some(digest) => Base::Registry { name, digest },
            None => {
                self.report(span, not_locked(&written));
                Base::Scratch
            }
        }
    }

    /// A name can stand for one image only, or it would depend on the order.
    fn replaces(
        &mut self,
        names: List<Repository>,
        replaced: &mut BTreeMap<String, String>,
    ) -> Vec<String> {
        let place = self.reader.place();
        for Spanned { value: Repository(name), span } in &names {
            if let Some(other) = replaced.insert(name.clone(), place.clone()) {
                let message = format!("{} is replaced twice: also{other}", quote(name));
                self.report(*span, Diagnostic::new(Code::Conflict, message));
            }
        }
        names.into_iter().map(|name| name.value.0).collect()
    }

    fn image_file(&mut self, file: FilesFile) -> ImageFile {
        let FilesFile { build, path, to, mode } = file;
        ImageFile {
            from: FileSource {
                build: build.spanned().map(|build| self.refer(Kind::Build, build)),
                path: path.value().map_or_else(String::new, |path| path.0),
            },
            patterns: Vec::new(),
            to: to.value().map_or_else(String::new, |to| to.0),
            mode: mode.value().map(|mode| mode.0),
            owner: None,
        }
    }
}

fn image_config(config: ConfigFile) -> ImageConfig {
    ImageConfig {
        entrypoint: texts(config.entrypoint),
        cmd: texts(config.cmd),
        env: variables(config.env, |name| name.0),
        user: config.user.value(),
        workdir: config.workdir.value().map(|path| path.0),
        ports: items(config.ports).into_iter().map(|port| port.value.0).collect(),
        labels: variables(config.labels, |name| name),
        ..ImageConfig::default()
    }
}
