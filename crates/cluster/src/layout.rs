//! Where everything is: names and addresses of clusters and nodes, by index.
//! The same in every environment.

use std::net::Ipv4Addr;

use seatrial_sandbox::netns::{Fabric, Link, Route};

/// The owner's side of the environment's network: where the registry listens.
pub const FABRIC: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

/// Port of the registry at [`FABRIC`].
pub const REGISTRY_PORT: u16 = 5000;

/// Port of every API server.
pub const API_PORT: u16 = 6443;

/// Most clusters of an environment.
pub const MOST_CLUSTERS: usize = 8;

/// Most nodes of a cluster.
pub const MOST_NODES: usize = 32;

/// Addresses 10.0.0.0/16 are nodes, the third byte being the cluster.
const PREFIX: u8 = 16;

/// How many nodes each cluster of an environment has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout(Vec<u8>);

/// A cluster by its index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClusterAt(pub u8);

/// A node by the indices of its cluster and within it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeAt {
    /// Index of the cluster.
    pub cluster: u8,
    /// Index of the node in the cluster. Node 0 runs the control plane too.
    pub node: u8,
}

impl Layout {
    /// A layout with these numbers of nodes; `None` when there are too many
    /// clusters or nodes for the addresses, or none.
    #[must_use]
    pub fn new(nodes: &[u32]) -> Option<Self> {
        let fits = |count: &u32| (1..=MOST_NODES as u32).contains(count);
        let good = (1..=MOST_CLUSTERS).contains(&nodes.len()) && nodes.iter().all(fits);
        good.then(|| Self(nodes.iter().map(|count| *count as u8).collect()))
    }

    /// All clusters.
    pub fn clusters(&self) -> impl Iterator<Item = ClusterAt> + use<> {
        (0..self.0.len() as u8).map(ClusterAt)
    }

    /// All nodes, those of a cluster together. The position here is a node's
    /// index in the environment.
    #[must_use]
    pub fn nodes(&self) -> Vec<NodeAt> {
        self.clusters().flat_map(|cluster| self.nodes_of(cluster)).collect()
    }

    /// The nodes of one cluster.
    #[must_use]
    pub fn nodes_of(&self, cluster: ClusterAt) -> Vec<NodeAt> {
        let count = self.0.get(usize::from(cluster.0)).copied().unwrap_or(0);
        (0..count).map(|node| NodeAt { cluster: cluster.0, node }).collect()
    }

    /// The index of a node in the environment.
    #[must_use]
    pub fn index(&self, at: NodeAt) -> usize {
        let before: u8 = self.0.iter().take(usize::from(at.cluster)).sum();
        usize::from(before + at.node)
    }

    /// What joins the nodes; `more` are further addresses of the owner's side.
    #[must_use]
    pub fn fabric(&self, more: Vec<Ipv4Addr>) -> Fabric {
        let pods = self.nodes().into_iter().map(NodeAt::route_to_pods);
        let services = self.clusters().map(ClusterAt::route_to_services);
        Fabric { address: FABRIC, prefix: PREFIX, more, routes: pods.chain(services).collect() }
    }

    /// The link of a node.
    #[must_use]
    pub fn link(&self, at: NodeAt) -> Link {
        let others = self.nodes().into_iter().filter(|other| *other != at);
        let clusters = self.clusters().filter(|other| other.0 != at.cluster);
        Link {
            address: at.address(),
            routes: others
                .map(NodeAt::route_to_pods)
                .chain(clusters.map(ClusterAt::route_to_services))
                .collect(),
            loopback: if at.node == 0 { vec![at.cluster().dns()] } else { vec![] },
        }
    }
}

impl ClusterAt {
    /// The node with the control plane.
    #[must_use]
    pub fn first_node(self) -> NodeAt {
        NodeAt { cluster: self.0, node: 0 }
    }

    /// Addresses of pods.
    #[must_use]
    pub fn pods(self) -> String {
        format!("10.{}.0.0/16", 244 + self.0)
    }

    /// Addresses of Services.
    #[must_use]
    pub fn services(self) -> String {
        format!("10.{}.0.0/16", 96 + self.0)
    }

    /// The Service `kubernetes`.
    #[must_use]
    pub fn api_service(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 96 + self.0, 0, 1)
    }

    /// The Service `kube-dns`, and the name server itself.
    #[must_use]
    pub fn dns(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 96 + self.0, 0, 10)
    }

    fn route_to_services(self) -> Route {
        Route { to: self.services(), via: self.first_node().address() }
    }
}

impl NodeAt {
    /// The cluster it is part of.
    #[must_use]
    pub fn cluster(self) -> ClusterAt {
        ClusterAt(self.cluster)
    }

    /// Its name, as a Kubernetes node, a host, a link and a control group.
    #[must_use]
    pub fn name(self) -> String {
        format!("c{}n{}", self.cluster, self.node)
    }

    /// Its address.
    #[must_use]
    pub fn address(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 0, self.cluster, self.node + 2)
    }

    /// Addresses of its pods.
    #[must_use]
    pub fn pods(self) -> String {
        format!("10.{}.{}.0/24", 244 + self.cluster, self.node)
    }

    fn route_to_pods(self) -> Route {
        Route { to: self.pods(), via: self.address() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn too_many_and_none_are_refused() {
        assert_eq!(Layout::new(&[]), None);
        assert_eq!(Layout::new(&[0]), None);
        assert_eq!(Layout::new(&[33]), None);
        assert_eq!(Layout::new(&[1; 9]), None);
        assert!(Layout::new(&[32; 8]).is_some());
    }

    #[test]
    fn names_addresses_and_ranges_are_distinct() {
        let layout = Layout::new(&[32; 8]).unwrap();
        let nodes = layout.nodes();
        let distinct = |values: Vec<String>| values.iter().collect::<BTreeSet<_>>().len();
        assert_eq!(distinct(nodes.iter().map(|n| n.name()).collect()), 256);
        assert_eq!(distinct(nodes.iter().map(|n| n.address().to_string()).collect()), 256);
        assert_eq!(distinct(nodes.iter().map(|n| n.pods()).collect()), 256);
        assert!(nodes.iter().all(|n| n.address() != FABRIC));
        for (index, node) in nodes.iter().enumerate() {
            assert_eq!(layout.index(*node), index);
        }
    }

    #[test]
    fn every_node_has_a_way_to_all_pods_and_foreign_services() {
        let layout = Layout::new(&[2, 1]).unwrap();
        let shown = |at: NodeAt| {
            let link = layout.link(at);
            let routes: Vec<_> =
                link.routes.iter().map(|r| format!("{} via {}", r.to, r.via)).collect();
            format!("{} {:?} {routes:#?}", link.address, link.loopback)
        };
        insta::assert_snapshot!(shown(NodeAt { cluster: 0, node: 0 }), @r#"
        10.0.0.2 [10.96.0.10] [
            "10.244.1.0/24 via 10.0.0.3",
            "10.245.0.0/24 via 10.0.1.2",
            "10.97.0.0/16 via 10.0.1.2",
        ]
        "#);
        insta::assert_snapshot!(shown(NodeAt { cluster: 0, node: 1 }), @r#"
        10.0.0.3 [] [
            "10.244.0.0/24 via 10.0.0.2",
            "10.245.0.0/24 via 10.0.1.2",
            "10.97.0.0/16 via 10.0.1.2",
        ]
        "#);
    }
}
