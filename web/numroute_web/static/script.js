"use strict";
// Everything works without this: it only saves clicks.

const upload = document.getElementById("upload");
if (upload) {
  const file = document.getElementById("file");
  file.addEventListener("change", () => file.files.length && upload.requestSubmit());
  for (const name of ["dragover", "dragleave", "drop"]) {
    upload.addEventListener(name, (event) => {
      event.preventDefault();
      upload.classList.toggle("over", name === "dragover");
      if (name === "drop" && event.dataTransfer.files.length) {
        file.files = event.dataTransfer.files;
        upload.requestSubmit();
      }
    });
  }
}

const follow = document.getElementById("follow");
if (follow) {
  const events = new EventSource(follow.dataset.events);
  events.addEventListener("progress", (event) => {
    const job = JSON.parse(event.data);
    document.getElementById("progress").value = job.share_done;
    document.getElementById("rows").textContent = job.rows.toLocaleString();
  });
  events.addEventListener("end", () => {
    events.close();
    location.reload();
  });
}
