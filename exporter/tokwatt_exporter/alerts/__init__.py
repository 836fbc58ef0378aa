"""Alerts without a server: the shipped rules, judged on the local history, and sent where the user wants them."""
