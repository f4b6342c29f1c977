// Shows the description of the server that this page comes from, and asks nobody else for anything.
window.ui = SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  displayRequestDuration: true,
  persistAuthorization: false, // a key typed here is gone with the page
  presets: [SwaggerUIBundle.presets.apis],
  validatorUrl: null, // else it sends the description's address to validator.swagger.io
});
