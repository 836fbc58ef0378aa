"""What macOS tells through its C libraries, by ctypes. One file per library; nothing is loaded before it is used."""
