"""`make apps`: real applications behind Portico, driven as their users drive them, into `docs/applications.md`."""
