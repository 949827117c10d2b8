"""JupyterLab's own documents as rooms: sessions, sockets, files, history."""
