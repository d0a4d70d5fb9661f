// A session that has ended shows on the sign-in page, not as a page that has stopped to answer.
(function () {
  "use strict";
  const ask = window.fetch.bind(window);
  window.fetch = async function (...request) {
    const answer = await ask(...request);
    if (answer.status === 401 && new URL(answer.url).origin === window.location.origin) {
      window.location.assign("/sign-in?next=" + encodeURIComponent(window.location.pathname + window.location.search));
      return new Promise(() => {}); // the page goes; nobody needs the answer
    }
    return answer;
  };
})();
