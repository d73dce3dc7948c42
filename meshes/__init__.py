"""Where tokens live: manifolds and their finite-element meshes."""
