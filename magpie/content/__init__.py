"""Content: keywords clustered into topics, ideas, articles and images for sites, reviewed by people."""
