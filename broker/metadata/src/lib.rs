//! Cluster image and the controller's decisions.
