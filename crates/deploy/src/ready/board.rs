//! All that is known about what is waited for, and what follows from it. Pure:
//! changes and the time come in, how it stands comes out.

mod up;

use std::collections::{BTreeMap, BTreeSet};

use kube::core::DynamicObject;
use kube::runtime::watcher::{self, Event};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{ReadyCondition, ReadyState, name_of};
use crate::cluster::Kind;
use crate::manifest::ObjectId;
use crate::readiness::{self, Readiness, Wanted, find, readiness, said, text};
use crate::trouble::{
    Patience, Pulls, Trouble, TroubleKind, count_pulls, is_outdated, patience, selects, troubles,
};
use crate::watch;

/// Objects of one kind in one namespace, as far as they were seen.
#[derive(Debug)]
struct Table {
    kind: Kind,
    namespace: Option<String>,
    objects: BTreeMap<String, Value>,
    /// Whether the first list is complete.
    listed: bool,
    /// The names in a list that is being read.
    listing: BTreeSet<String>,
    /// Why it cannot be watched at the moment.
    error: Option<String>,
}

#[derive(Debug)]
struct Item {
    condition: ReadyCondition,
    id: ObjectId,
    group: String,
    deadline: Instant,
    table: usize,
    /// The pods of its namespace, if it has to do with pods.
    pods: Option<usize>,
    /// The EndpointSlices of its namespace, if it is a Service.
    slices: Option<usize>,
    /// A Job that was complete: it may be removed by its time to live.
    complete: bool,
}

/// Everything that is waited for and everything that was seen of it.
#[derive(Debug, Default)]
pub(crate) struct Board {
    tables: Vec<Table>,
    items: Vec<Item>,
    pulls: BTreeMap<(usize, String), Pulls>,
    /// Since when a trouble of an item is seen without a break.
    standing: BTreeMap<(usize, String, Option<String>, TroubleKind), Instant>,
    /// Since when the present life of a container is seen, by table of pods,
    /// pod and container.
    lives: BTreeMap<(usize, String, String), (String, Instant)>,
}

/// How one item stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Judged {
    pub(crate) items: Vec<JudgedItem>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JudgedItem {
    pub(crate) id: ObjectId,
    pub(crate) readiness: Readiness,
    /// What is wrong with its pods: the pod's name, empty for the object itself.
    pub(crate) troubles: Vec<(String, Trouble)>,
    /// The trouble that is for good, by its place in `troubles`.
    pub(crate) over: Option<usize>,
    pub(crate) late: bool,
    pub(crate) unreachable: bool,
    /// When this may change without an event.
    wake: Instant,
}

/// Whether waiting is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Ready,
    Never,
    Open { wake: Instant },
}

impl Judged {
    pub(crate) fn states(&self) -> Vec<ReadyState> {
        let state = |item: &JudgedItem| ReadyState {
            object: item.id.to_string(),
            readiness: item.readiness.clone(),
        };
        self.items.iter().map(state).collect()
    }

    pub(crate) fn end(&self) -> End {
        if self.items.iter().all(|item| item.readiness == Readiness::Ready) {
            return End::Ready;
        }
        if self.items.iter().any(JudgedItem::is_never) {
            return End::Never;
        }
        let open = self.items.iter().filter(|item| item.readiness != Readiness::Ready);
        match open.map(|item| item.wake).min() {
            Some(wake) => End::Open { wake },
            None => End::Ready,
        }
    }
}

impl JudgedItem {
    #[cfg(test)]
    pub(crate) fn example(
        id: ObjectId,
        readiness: Readiness,
        troubles: Vec<(String, Trouble)>,
        over: Option<usize>,
    ) -> Self {
        let wake = Instant::now();
        Self { id, readiness, troubles, over, late: over.is_none(), unreachable: false, wake }
    }

    /// Whether it is not ready and need not be waited for any longer.
    pub(crate) fn is_never(&self) -> bool {
        match self.readiness {
            Readiness::Ready => false,
            Readiness::Failed(_) => true,
            Readiness::Pending(_) => self.over.is_some() || self.late,
        }
    }
}

impl Board {
    /// Adds what is to be waited for until `deadline`.
    pub(crate) fn add(
        &mut self,
        condition: ReadyCondition,
        kind: Kind,
        default_namespace: &str,
        deadline: Instant,
    ) {
        let namespace = kind
            .namespaced
            .then(|| condition.namespace.clone().unwrap_or_else(|| default_namespace.to_owned()));
        let id = ObjectId {
            api_version: kind.resource.api_version.clone(),
            kind: kind.resource.kind.clone(),
            namespace: namespace.clone(),
            name: condition.name.clone(),
        };
        let group = kind.resource.group.clone();
        let has_pods = matches!(
            (group.as_str(), id.kind.as_str()),
            ("apps" | "batch", _) | ("", "ReplicationController" | "Service" | "Pod")
        );
        let pods = has_pods
            .then(|| self.table(Kind::namespaced("", "v1", "Pod", "pods"), namespace.clone()));
        let is_service = group.is_empty() && id.kind == "Service";
        let slices = (is_service && condition.wanted == Wanted::Ready).then(|| {
            let kind =
                Kind::namespaced("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices");
            self.table(kind, namespace.clone())
        });
        let table = self.table(kind, namespace);
        let complete = false;
        self.items.push(Item { condition, id, group, deadline, table, pods, slices, complete });
    }

    /// What has to be watched; a change of the n-th goes to `observe(n, ..)`.
    pub(crate) fn tables(&self) -> impl Iterator<Item = (&Kind, Option<&str>)> {
        self.tables.iter().map(|table| (&table.kind, table.namespace.as_deref()))
    }

    /// The pods of an item that were seen last.
    pub(crate) fn pods_of(&self, id: &ObjectId) -> Vec<&Value> {
        let item = self.items.iter().find(|item| item.id == *id);
        item.map(|item| self.pods(item)).unwrap_or_default()
    }

    fn table(&mut self, kind: Kind, namespace: Option<String>) -> usize {
        let same = |table: &Table| {
            table.kind.resource.api_version == kind.resource.api_version
                && table.kind.resource.plural == kind.resource.plural
                && table.namespace == namespace
        };
        if let Some(index) = self.tables.iter().position(same) {
            return index;
        }
        self.tables.push(Table {
            kind,
            namespace,
            objects: BTreeMap::new(),
            listed: false,
            listing: BTreeSet::new(),
            error: None,
        });
        self.tables.len() - 1
    }

    /// Takes in a change of the objects of table `index`.
    pub(crate) fn observe(
        &mut self,
        index: usize,
        event: watcher::Result<Event<DynamicObject>>,
        now: Instant,
    ) {
        let Some(table) = self.tables.get_mut(index) else {
            return;
        };
        match event {
            Err(error) => {
                table.error = Some(watch::reason(&error));
                return;
            }
            Ok(Event::Init) => table.listing.clear(),
            Ok(Event::InitDone) => {
                let listing = std::mem::take(&mut table.listing);
                table.objects.retain(|name, _| listing.contains(name));
                table.listed = true;
            }
            Ok(Event::Delete(object)) => {
                let name = object.metadata.name.unwrap_or_default();
                table.objects.remove(&name);
                self.pulls.remove(&(index, name));
            }
            Ok(Event::InitApply(object)) => {
                table.listing.insert(object.metadata.name.clone().unwrap_or_default());
                self.put(index, watch::json(object));
            }
            Ok(Event::Apply(object)) => self.put(index, watch::json(object)),
        }
        self.tables[index].error = None;
        self.stand(now);
        if self.tables[index].kind.resource.kind == "Pod" {
            self.live(index, now);
        }
    }

    fn put(&mut self, index: usize, object: Value) {
        let name = name_of(&object).to_owned();
        let table = &mut self.tables[index];
        if table.kind.resource.kind == "Pod" {
            let pulls = self.pulls.entry((index, name.clone())).or_default();
            count_pulls(table.objects.get(&name), &object, pulls);
        }
        table.objects.insert(name, object);
    }

    /// Notes since when each trouble stands, and which Jobs were complete.
    fn stand(&mut self, now: Instant) {
        let mut standing = BTreeMap::new();
        let mut complete = Vec::new();
        for (index, item) in self.items.iter().enumerate() {
            for (pod, trouble) in self.troubles(item) {
                let key = (index, pod, trouble.container, trouble.kind);
                let since = self.standing.get(&key).copied().unwrap_or(now);
                standing.insert(key, since);
            }
            complete.push(item.id.kind == "Job" && self.readiness(item) == Readiness::Ready);
        }
        self.standing = standing;
        for (item, complete) in self.items.iter_mut().zip(complete) {
            item.complete |= complete;
        }
    }

    /// How everything stands at `now`.
    pub(crate) fn judge(&self, now: Instant) -> Judged {
        let items = self.items.iter().enumerate().map(|(index, item)| {
            let mut wake = item.deadline;
            let readiness = match self.readiness(item) {
                Readiness::Ready => self.stays_up(item, now, &mut wake),
                readiness => readiness,
            };
            let table = &self.tables[item.table];
            let mut over = None;
            let troubles =
                if readiness == Readiness::Ready { Vec::new() } else { self.troubles(item) };
            for (place, (pod, trouble)) in troubles.iter().enumerate() {
                let key = (index, pod.clone(), trouble.container.clone(), trouble.kind);
                let since = self.standing.get(&key).copied().unwrap_or(now);
                match self.patience(item, pod, trouble) {
                    Patience::Over => over = over.or(Some(place)),
                    Patience::Standing(limit) if since + limit <= now => {
                        over = over.or(Some(place));
                    }
                    Patience::Standing(limit) => wake = wake.min(since + limit),
                    Patience::Unlimited => {}
                }
            }
            JudgedItem {
                id: item.id.clone(),
                readiness,
                troubles,
                over,
                late: now >= item.deadline,
                unreachable: table.error.is_some() || !table.listed,
                wake,
            }
        });
        Judged { items: items.collect() }
    }

    fn readiness(&self, item: &Item) -> Readiness {
        if item.complete {
            return Readiness::Ready;
        }
        let tables = [Some(item.table), item.slices];
        for table in tables.into_iter().flatten().map(|index| &self.tables[index]) {
            if let Some(error) = &table.error {
                return Readiness::Pending(error.clone());
            }
            if !table.listed {
                return Readiness::Pending("its state is not known yet".to_owned());
            }
        }
        let object = self.tables[item.table].objects.get(&item.condition.name);
        if let (Some(slices), Some(_)) = (item.slices, object) {
            let of_service = |slice: &&Value| {
                let label = "/metadata/labels/kubernetes.io~1service-name";
                text(slice, label) == item.condition.name
            };
            let slices = self.tables[slices].objects.values().filter(of_service);
            return readiness::service(slices);
        }
        readiness(&item.group, &item.id.kind, object, &item.condition.wanted)
    }

    /// What is wrong with the pods of an item, and with making them.
    fn troubles(&self, item: &Item) -> Vec<(String, Trouble)> {
        let mut found = Vec::new();
        let object = self.tables[item.table].objects.get(&item.condition.name);
        if let Some(failure) = object.and_then(|object| find(object, "ReplicaFailure"))
            && item.group == "apps"
            && text(failure, "/status") == "True"
        {
            let trouble =
                Trouble { container: None, kind: TroubleKind::Refused, said: said(failure) };
            found.push((String::new(), trouble));
        }
        for pod in self.pods(item) {
            let name = name_of(pod);
            found.extend(troubles(pod).into_iter().map(|trouble| (name.to_owned(), trouble)));
        }
        found.sort_by_key(|(_, trouble)| trouble.kind);
        found
    }

    fn patience(&self, item: &Item, pod: &str, trouble: &Trouble) -> Patience {
        // A Job has its own limit for pods that fail.
        if item.group == "batch" && trouble.kind == TroubleKind::Crash {
            return Patience::Unlimited;
        }
        let none = (Value::Null, Pulls::new());
        let (object, pulls) = item.pods.map_or((&none.0, &none.1), |table| {
            let object = self.tables[table].objects.get(pod).unwrap_or(&none.0);
            (object, self.pulls.get(&(table, pod.to_owned())).unwrap_or(&none.1))
        });
        patience(trouble, object, pulls)
    }

    /// The pods that an item is about: not those that are going, and not those
    /// of an older template.
    fn pods(&self, item: &Item) -> Vec<&Value> {
        let mut pods = self.selected(item);
        if item.group.is_empty() && item.id.kind == "Pod" {
            return pods;
        }
        let object = self.tables[item.table].objects.get(&item.condition.name);
        let template = object.and_then(|object| object.pointer("/spec/template"));
        let template = template.unwrap_or(&Value::Null);
        pods.retain(|pod| {
            pod.pointer("/metadata/deletionTimestamp").is_none() && !is_outdated(pod, template)
        });
        pods
    }

    /// All pods that an item selects.
    fn selected(&self, item: &Item) -> Vec<&Value> {
        let Some(table) = item.pods.map(|index| &self.tables[index]) else {
            return Vec::new();
        };
        if item.group.is_empty() && item.id.kind == "Pod" {
            return table.objects.get(&item.condition.name).into_iter().collect();
        }
        let Some(object) = self.tables[item.table].objects.get(&item.condition.name) else {
            return Vec::new();
        };
        let selector = object.pointer("/spec/selector").unwrap_or(&Value::Null);
        // The older kinds have the labels themselves where the newer have a selector.
        let labels;
        let selector = if item.group.is_empty() {
            labels = json!({ "matchLabels": selector });
            &labels
        } else {
            selector
        };
        table.objects.values().filter(|pod| selects(selector, pod)).collect()
    }
}

#[cfg(test)]
mod tests;
