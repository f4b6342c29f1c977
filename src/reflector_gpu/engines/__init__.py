"""Model families behind one Protocol a capability. An engine never imports another."""
