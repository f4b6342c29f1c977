"""The parts of an application on Modal, which `deploy.modal_app` puts together."""
