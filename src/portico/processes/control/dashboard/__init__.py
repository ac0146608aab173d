"""The dashboard on the admin port: pages for people, made on the server from what the admin API answers."""
