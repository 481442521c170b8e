Redoc.init("/api/schema/", { hideDownloadButton: false }, document.getElementById("redoc"));
