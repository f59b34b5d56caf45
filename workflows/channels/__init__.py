"""Citizens' channels: the WeChat hook, and reports assembled from chat messages."""
