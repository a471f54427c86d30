//! Carries out an installation: component by component, each from the first
//! source that has it, then all of them as one directory.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use seatrial_core::digest::{Digest, Hasher};
use seatrial_core::failure::Failure;

use crate::cache::{self, Cache, Manifest, Slot};
use crate::checksum::{self, ChecksumError, Record};
use crate::error::{Error, IoContext as _};
use crate::fetch::{Client, FetchError};
use crate::{
    Component, Components, From, GoError, Installed, Progress, ReleaseFile, Source, Step, archive,
    go,
};

/// A checksum file of all files of a release is a few KiB.
const CHECKSUM_FILE_LIMIT: u64 = 1 << 20;

pub(crate) fn install(
    components: &Components,
    cache: &Cache,
    from: &From,
    progress: &mut dyn FnMut(Progress),
) -> Result<Installed, Error> {
    let all = || components.lock.components.iter();
    let slots = all().flat_map(|c| Source::ALL.map(|source| components.slot(c, source)));
    cache.sweep(&slots.collect::<Vec<_>>())?;
    let mut run = Run { components, cache, client: Client::new(), gone: BTreeSet::new() };
    let mut found = Vec::new();
    for component in all() {
        let mut report = |step| {
            let (name, version) = (component.name.clone(), component.version.clone());
            progress(Progress { component: name, version, step });
        };
        match run.component(component, from, &mut report) {
            Ok(made) => found.push(made),
            Err(error) if component.optional => {
                report(Step::LeftOut { reason: Failure::chain(&error) });
            }
            Err(error) => return Err(error),
        }
    }
    cache.publish_set(components.digest(), &found)
}

/// One installation.
struct Run<'a> {
    components: &'a Components,
    cache: &'a Cache,
    client: Client,
    /// Servers that did not answer: asking them again costs seconds each time.
    gone: BTreeSet<String>,
}

impl Run<'_> {
    /// Brings one component into the cache.
    fn component(
        &mut self,
        component: &Component,
        from: &From,
        progress: &mut dyn FnMut(Step),
    ) -> Result<(Slot, Manifest), Error> {
        let sources = sources(from, component);
        for source in &sources {
            let slot = self.components.slot(component, *source);
            if let Some(manifest) = self.cache.component(&slot) {
                progress(Step::Present);
                return Ok((slot, manifest));
            }
        }
        let mut unavailable: Option<Error> = None;
        for source in sources {
            match self.make(component, source, from, progress) {
                Ok(made) => return Ok(made),
                Err(error) if *from == From::Auto && error.is_unavailable() => {
                    progress(Step::FallingBack { reason: Failure::chain(&error) });
                    unavailable = Some(error);
                }
                Err(error) => {
                    return Err(match unavailable {
                        None => error,
                        Some(release) => Error::NoSource {
                            component: component.name.clone(),
                            release: Failure::chain(&release),
                            build: Box::new(error),
                        },
                    });
                }
            }
        }
        Err(unavailable.unwrap_or(Error::Nowhere { component: component.name.clone() }))
    }

    /// Makes a component from one source, or waits for who is making it.
    fn make(
        &mut self,
        component: &Component,
        source: Source,
        from: &From,
        progress: &mut dyn FnMut(Step),
    ) -> Result<(Slot, Manifest), Error> {
        let slot = self.components.slot(component, source);
        let lock = self.cache.lock(&slot, || progress(Step::Waiting))?;
        if let Some(manifest) = self.cache.component(&slot) {
            progress(Step::Present);
            return Ok((slot, manifest));
        }
        let start = Instant::now();
        let work = self.cache.work(&slot)?;
        let made = match (source, &component.go, from) {
            (Source::Go, Some(build), _) => {
                let missing = || GoError::Module(build.module.clone());
                let module = self.components.modules.get(&build.module).ok_or_else(missing)?;
                go::build(component, build, module, &work, &lock, progress)?
            }
            (Source::Dir, _, From::Dir(dir)) => from_dir(component, dir, &work)?,
            _ => self.release(component, &work, progress)?,
        };
        let manifest = self.cache.publish(&slot, &made, component, source)?;
        progress(Step::Done { source, elapsed: start.elapsed() });
        Ok((slot, manifest))
    }

    /// Downloads the files of a release, checks them and takes out what is
    /// wanted.
    fn release(
        &mut self,
        component: &Component,
        work: &Path,
        progress: &mut dyn FnMut(Step),
    ) -> Result<PathBuf, Error> {
        let made = fresh(work)?;
        for file in &component.release {
            let file = ReleaseFile {
                url: component.expand(&file.url, self.components.arch),
                checksum: component.expand(&file.checksum, self.components.arch),
                ..file.clone()
            };
            let name = file.url.rsplit('/').next().unwrap_or_default();
            let part = work.join(format!("{name}.part"));
            let limit = u64::from(file.limit_mib) << 20;
            self.checked(&file, &part, limit, progress)?;
            if let Some(place) = &file.file {
                // A copy, so that a kill from here on does not cost the
                // download again; the working directory goes in the end.
                let path = made.join(place);
                fs::copy(&part, &path).doing("copy", &path)?;
            }
            if !file.entries.is_empty() {
                let expand = |text: &String| component.expand(text, self.components.arch);
                let wanted = file.entries.iter().map(|(from, to)| (expand(from), to.clone()));
                archive::unpack(&part, &wanted.collect(), &made, limit)
                    .map_err(|source| Error::Archive { file: name.to_owned(), source })?;
            }
        }
        Ok(made)
    }

    /// Downloads one file and checks its digest.
    fn checked(
        &mut self,
        file: &ReleaseFile,
        part: &Path,
        limit: u64,
        progress: &mut dyn FnMut(Step),
    ) -> Result<(), Error> {
        let record = Record::new(&self.cache.dir("checksums")?, &file.url);
        let recorded = match file.digest {
            Some(digest) => Some(digest),
            None => record.read()?,
        };
        let expected = match recorded {
            Some(digest) => digest,
            None => self.publishers(file)?,
        };
        // What a killed installation left may be all of the file, a part of it,
        // or of another one. The last says nothing about what the server has
        // now, so that is then asked for once more.
        let left = fs::metadata(part).is_ok();
        let mut found = if left { Some(digest(part).doing("read", part)?) } else { None };
        let mut tries = if left { 2 } else { 1 };
        while found != Some(expected) && tries > 0 {
            self.ask(&file.url, |client| client.file(&file.url, part, limit, progress))?;
            found = Some(digest(part).doing("read", part)?);
            if found != Some(expected) {
                cache::remove_if_there(part)?;
            }
            tries -= 1;
        }
        if let Some(found) = found.filter(|found| *found != expected) {
            let from_record = file.digest.is_none() && recorded.is_some();
            let recorded = from_record.then(|| record.path().to_owned());
            let source = ChecksumError::Mismatch { expected, found, recorded };
            return Err(Error::Checksum { url: file.url.clone(), source });
        }
        match recorded {
            Some(_) => Ok(()),
            None => record.write(expected, &file.url),
        }
    }

    /// The checksum that the publisher gives for a file.
    fn publishers(&mut self, file: &ReleaseFile) -> Result<Digest, Error> {
        let url = &file.checksum;
        let text = self.ask(url, |client| client.text(url, CHECKSUM_FILE_LIMIT))?;
        let name = file.url.rsplit('/').next().unwrap_or_default();
        checksum::find(&text, name).map_err(|source| Error::Checksum { url: url.clone(), source })
    }

    /// Asks a server, unless it did not answer before.
    fn ask<T>(
        &mut self,
        url: &str,
        request: impl FnOnce(&Client) -> Result<T, FetchError>,
    ) -> Result<T, Error> {
        let server = url.split('/').nth(2).unwrap_or_default().to_owned();
        let result =
            if self.gone.contains(&server) { Err(FetchError::Gone) } else { request(&self.client) };
        result.map_err(|source| {
            if source.is_server_gone() {
                self.gone.insert(server);
            }
            Error::Fetch { url: url.to_owned(), source: Box::new(source) }
        })
    }
}

/// Where a component may come from, in the order in which that is tried.
fn sources(from: &From, component: &Component) -> Vec<Source> {
    let wanted: &[Source] = match from {
        From::Auto => &[Source::Release, Source::Go],
        From::Release if component.release.is_empty() => &[Source::Go],
        From::Release => &[Source::Release],
        From::Go => &[Source::Go],
        From::Dir(_) => &[Source::Dir],
    };
    wanted.iter().copied().filter(|source| component.has(*source)).collect()
}

/// Copies a component out of a directory that another machine installed.
fn from_dir(component: &Component, dir: &Path, work: &Path) -> Result<PathBuf, Error> {
    let manifests = cache::read_set(dir)
        .map_err(|source| Error::NotInstalled { path: dir.to_owned(), source })?;
    let manifest = manifests.iter().find(|manifest| manifest.name == component.name);
    let manifest = match manifest {
        Some(manifest) if manifest.version == component.version => manifest,
        other => {
            return Err(Error::OtherVersion {
                path: dir.to_owned(),
                component: component.name.clone(),
                wanted: component.version.clone(),
                found: other.map_or("nothing".to_owned(), |found| found.version.clone()),
            });
        }
    };
    let made = fresh(work)?;
    let mut copies = BTreeMap::new();
    for place in component.places() {
        let (path, copy) = (dir.join(place), made.join(place));
        let record = cache::copy(&path, &copy).doing("copy", &path)?;
        if manifest.files.get(place) != Some(&record) {
            return Err(Error::Damaged { path });
        }
        // One file under several names was made so on purpose: its pages are
        // in memory once. A plain copy of the directory loses that.
        if let Some(same) = copies.insert(record.digest, copy.clone()) {
            cache::remove_if_there(&copy)?;
            fs::hard_link(&same, &copy).doing("link", &copy)?;
        }
    }
    Ok(made)
}

/// An empty directory for the files of a component; downloads beside it stay.
fn fresh(work: &Path) -> Result<PathBuf, Error> {
    let made = work.join("made");
    cache::remove_if_there(&made)?;
    for dir in [made.join("bin"), made.join("cni")] {
        fs::create_dir_all(&dir).doing("make", &dir)?;
    }
    Ok(made)
}

fn digest(path: &Path) -> std::io::Result<Digest> {
    let mut hasher = Hasher::new();
    std::io::copy(&mut fs::File::open(path)?, &mut hasher)?;
    Ok(hasher.finish())
}
