"""The rules of leads: keyword match, gates, ranking, rejections, replay. No file formats, no orchestration."""
