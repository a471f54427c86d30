//! Whether what is ready by what its object says is up, by what its pods do.

use std::collections::BTreeMap;

use serde_json::Value;
use tokio::time::Instant;

use super::{Board, Item};
use crate::readiness::{Readiness, number};
use crate::ready::name_of;
use crate::ready::settle::{is_active, lives};

impl Board {
    /// Notes since when the containers of a table of pods live.
    pub(super) fn live(&mut self, table: usize, now: Instant) {
        let mut seen = BTreeMap::new();
        for (name, pod) in &self.tables[table].objects {
            for life in lives(pod).unwrap_or_default() {
                let key = (table, name.clone(), life.container);
                let known = self.lives.get(&key).filter(|(start, _)| *start == life.start);
                let since = known.map_or(now, |(_, since)| *since);
                seen.insert(key, (life.start, since));
            }
        }
        self.lives.retain(|(of, ..), _| *of != table);
        self.lives.append(&mut seen);
    }

    /// Whether the pods of what its object says is ready stay up; lowers `wake`
    /// to when that may be known. See [`crate::ready::settle`].
    pub(super) fn stays_up(&self, item: &Item, now: Instant, wake: &mut Instant) -> Readiness {
        let is_workload = item.group == "apps"
            || item.group.is_empty()
                && matches!(item.id.kind.as_str(), "ReplicationController" | "Pod");
        let (Some(table), true, true) = (item.pods, is_workload, item.condition.wants_it_up())
        else {
            return Readiness::Ready;
        };
        if !self.tables[table].listed {
            return Readiness::Pending("its pods are not known yet".to_owned());
        }
        let pods: Vec<_> = self.selected(item).into_iter().filter(|pod| is_active(pod)).collect();
        let wanted = self.replicas(item);
        if i64::try_from(pods.len()).unwrap_or(i64::MAX) < wanted {
            return Readiness::Pending(format!("{} of {wanted} pods are there", pods.len()));
        }
        let mut settling = None;
        for pod in pods {
            let name = name_of(pod);
            let lives = match lives(pod) {
                Ok(lives) => lives,
                Err(reason) => return Readiness::Pending(format!("pod {name}: {reason}")),
            };
            for life in lives {
                let key = (table, name.to_owned(), life.container);
                let since = self.lives.get(&key).map_or(now, |(_, since)| *since);
                if since + life.settle > now {
                    *wake = (*wake).min(since + life.settle);
                    settling.get_or_insert_with(|| {
                        let settle = life.settle.as_secs();
                        format!("pod {name}: container {} has run for less than {settle} s", key.2)
                    });
                }
            }
        }
        settling.map_or(Readiness::Ready, Readiness::Pending)
    }

    /// How many pods have to be there for an item to be up.
    fn replicas(&self, item: &Item) -> i64 {
        let none = Value::Null;
        let object = self.tables[item.table].objects.get(&item.condition.name).unwrap_or(&none);
        match item.id.kind.as_str() {
            "DaemonSet" => number(object, "/status/desiredNumberScheduled", 0),
            // One that is complete stays ready.
            "Pod" => 0,
            _ => number(object, "/spec/replicas", 1),
        }
    }
}
