// Reads {chromium, page, board, prometheus, …, picture} as JSON, draws the board in the browser, saves the picture and
// prints what each panel showed. A fault of the page ends it with 1.
const { chromium } = require('playwright-core');
const given = JSON.parse(require('fs').readFileSync(0));

(async () => {
  const browser = await chromium.launch({ executablePath: given.chromium, args: ['--no-sandbox', '--disable-gpu'] });
  const page = await browser.newPage({ viewport: { width: 1516, height: 900 }, timezoneId: 'UTC', locale: 'en-US' });
  const faults = [];
  page.on('pageerror', (error) => faults.push(String(error)));
  await page.addInitScript((scene) => { window.scene = scene; }, given);
  await page.goto(`file://${given.page}`);
  await page.waitForFunction('window.drawn', null, { timeout: 120000 }).catch((error) => faults.push(String(error)));
  await page.locator('#root').screenshot({ path: given.picture });
  console.log(JSON.stringify({ drawn: await page.evaluate('window.drawn ?? []'), faults }));
  await browser.close();
})();
