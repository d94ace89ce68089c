Reveal.initialize({
  width: 1280, height: 720, margin: 0, center: false, display: "flex", hash: true,
  controls: false, transition: "none", plugins: [RevealNotes],
});
