"""The parts of the application on Ray Serve, which `deploy.ray_app` puts together."""
