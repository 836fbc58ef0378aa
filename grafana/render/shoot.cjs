// Reads {chromium, page, board, prometheus, …, picture} as JSON, draws the board in the browser, saves the picture and
// prints what each panel showed. A fault of the page ends it with 1.
const { chromium } = require('playwright-core');
const fs = require('fs'), upng = require('upng-js');
const given = JSON.parse(fs.readFileSync(0));

(async () => {
  const browser = await chromium.launch({ executablePath: given.chromium, args: ['--no-sandbox', '--disable-gpu'] });
  const page = await browser.newPage({ viewport: { width: 1516, height: 3000 }, timezoneId: 'UTC', locale: 'en-US' });
  const faults = [];
  page.on('pageerror', (error) => faults.push(String(error)));
  await page.clock.setFixedTime(new Date(given.to * 1000));
  await page.addInitScript((scene) => { window.scene = scene; }, given);
  await page.goto(`file://${given.page}`);
  await page.waitForFunction('window.drawn', null, { timeout: 120000 }).catch((error) => faults.push(String(error)));
  const picture = upng.decode(await page.locator('#root').screenshot());
  // A board has few colours, and a picture of them all is twice as large.
  const small = upng.encode(upng.toRGBA8(picture), picture.width, picture.height, 128);
  fs.writeFileSync(given.picture, Buffer.from(small));
  console.log(JSON.stringify({ drawn: await page.evaluate('window.drawn ?? []'), faults }));
  await browser.close();
})();
