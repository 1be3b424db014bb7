//! virtual-network.
