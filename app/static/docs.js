// The API's description, drawn by Swagger UI from this server's own files; nothing is asked of any other host.
globalThis.SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#api",
  deepLinking: true,
  displayRequestDuration: true,
  defaultModelsExpandDepth: 0,
  // By default it sends the description's address to a validator on the internet.
  validatorUrl: null,
});
