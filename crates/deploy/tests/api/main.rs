//! Apply, ready and evidence against an API server in memory: above
//! all what a real one cannot be made to do on demand. Needs no cluster.

mod apply;
mod evidence;
mod fake;
mod ready;
